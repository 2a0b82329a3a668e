//go:build unix

package bus

import "golang.org/x/sys/unix"

// session is the session of this process; 0 when it is that of another container.
func session() int {
	id, err := unix.Getsid(0)
	if err != nil {
		return -1
	}
	return id
}
