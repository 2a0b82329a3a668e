package rehearsal

import (
	"path/filepath"
	"strings"
)

// passed are the variables that a program needs to run, and that tell nothing of an environment
// of golive. Those of the Go command name where what it has compiled lies.
var passed = map[string]bool{
	"PATH": true, "LANG": true, "LANGUAGE": true, "TZ": true, "TERM": true, "USER": true, "LOGNAME": true, "SHELL": true,
	"LD_LIBRARY_PATH": true, "JAVA_HOME": true,
	"GOROOT": true, "GOTOOLCHAIN": true, "GOOS": true, "GOARCH": true, "CGO_ENABLED": true, "GOMAXPROCS": true, "GOMEMLIMIT": true,
}

// Environ is what programs of a rehearsal have in their environment, of that of this process:
// what they need to run, and a home and a folder for temporary files in the sandbox. The folders
// of the Go command stay those of this user, so that nothing is compiled anew. Nothing else gets
// through but the variables that are named in more.
func (s *Sandbox) Environ(environ []string, more ...string) []string {
	own := make(map[string]string)
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		own[name] = value
	}
	clean := []string{"HOME=" + filepath.Join(s.Dir, homeFolder), "TMPDIR=" + filepath.Join(s.Dir, tempFolder), "GOLIVE_SANDBOX=1"}
	add := func(name, otherwise string) {
		if value := own[name]; value != "" {
			clean = append(clean, name+"="+value)
		} else if otherwise != "" {
			clean = append(clean, name+"="+otherwise)
		}
	}
	for name := range own {
		if passed[name] || strings.HasPrefix(name, "LC_") {
			add(name, "")
		}
	}
	for _, name := range more {
		add(name, "")
	}
	if home := own["HOME"]; filepath.IsAbs(home) {
		cache := own["XDG_CACHE_HOME"]
		if cache == "" {
			cache = filepath.Join(home, ".cache")
		}
		add("GOPATH", filepath.Join(home, "go"))
		add("GOMODCACHE", "")
		add("GOCACHE", filepath.Join(cache, "go-build"))
	}
	return clean
}
