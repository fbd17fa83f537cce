package testenv

import "syscall"

// attributes makes the child run as as and get sig when the test binary dies.
func attributes(as account, sig syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Pdeathsig: sig}
	if as.other {
		attr.Credential = &syscall.Credential{Uid: as.uid, Gid: as.gid}
	}
	return attr
}
