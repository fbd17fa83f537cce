package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// mount puts a tmpfs of so many MB at dir.
func mount(dir string, megabytes int, as account) error {
	options := fmt.Sprintf("size=%dm,mode=0700,uid=%d,gid=%d", megabytes, as.uid, as.gid)
	if err := syscall.Mount("wardstream-test", dir, "tmpfs", 0, options); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	return nil
}

// unmount takes away what may be mounted at dir.
func unmount(dir string) { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }

// fill makes a file of all that is free on its disk, what others free meanwhile included.
func fill(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // on a server's own disk
	if err != nil {
		return fmt.Errorf("fill disk: %w", err)
	}
	defer f.Close()
	var size int64
	for {
		var at syscall.Statfs_t
		if err := syscall.Statfs(filepath.Dir(name), &at); err != nil {
			return fmt.Errorf("fill disk: %w", err)
		}
		if at.Bavail == 0 {
			return nil
		}
		free := int64(at.Bavail) * at.Bsize //nolint:gosec // of a small disk
		switch err := syscall.Fallocate(int(f.Fd()), 0, size, free); err {
		case nil:
			size += free
		case syscall.ENOSPC, syscall.EINTR: // another process used some
		default:
			return fmt.Errorf("fill disk: %w", err)
		}
	}
}
