//go:build unix && !linux

package testenv

import "errors"

var errNoMount = errors.New("there is no tmpfs here")

func mount(string, int, account) error { return errNoMount }

func unmount(string) {}

func fill(string) error { return errNoMount }
