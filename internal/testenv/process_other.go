//go:build unix && !linux

package testenv

import "syscall"

// attributes makes the child run as as. There is no parent-death signal here: a
// server outlives a test binary that is killed.
func attributes(as account, _ syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{}
	if as.other {
		attr.Credential = &syscall.Credential{Uid: as.uid, Gid: as.gid}
	}
	return attr
}
