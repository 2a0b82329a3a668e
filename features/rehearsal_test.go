package features

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cucumber/godog"
)

// canary is in the environment of whoever rehearses, and nobody else may know it.
const canary = "A-CANARY-OF-THE-SHELL"

func (s *scenario) rehearsalSteps(sc *godog.ScenarioContext) {
	sc.Step(`^I (start|run) "(golive (?:rehearse|test deploy).*)" with secrets in my shell$`, s.rehearse)
	sc.Step(`^no program of the rehearsal, and no file of it, knows the environment or my secrets$`, s.nobodyKnows)
	sc.Step(`^the folder of the app (\S+) is copied to (\S+)$`, func(app, to string) error {
		return os.CopyFS(filepath.Join(s.home(), to), os.DirFS(filepath.Join(s.home(), app)))
	})
	sc.Step(`^nothing of a rehearsal is left$`, func(ctx context.Context) error { return s.sandboxes(ctx, 0) })
	sc.Step(`^the data of a rehearsal is left$`, func(ctx context.Context) error { return s.sandboxes(ctx, 1) })
}

// nest is the folder in which rehearsals of this scenario are.
func (s *scenario) nest() string { return filepath.Join(s.folder, "nest") }

func (s *scenario) rehearse(ctx context.Context, how, line string) error {
	if err := os.MkdirAll(s.nest(), 0o700); err != nil {
		return err
	}
	err := s.start(ctx, passing(line), s.home(), "TMPDIR="+s.nest(), "AWS_SECRET="+canary, "NATS_CREDS="+canary)
	if err != nil || how == "start" {
		return err
	}
	t, err := s.current()
	if err != nil {
		return err
	}
	return t.await(ctx)
}

// sandboxes checks how many folders of rehearsals there are.
func (s *scenario) sandboxes(_ context.Context, want int) error {
	if programs, err := s.rehearsers(); err != nil || want == 0 && len(programs) > 0 {
		return errors.Join(err, fmt.Errorf("%d programs still run: %v", len(programs), programs))
	}
	found, err := os.ReadDir(s.nest())
	if err != nil || len(found) == want {
		return err
	}
	return fmt.Errorf("%d are left: %v", len(found), found)
}

// nobodyKnows looks for the address of the bus, and for the canary, in what the programs of the
// rehearsal were given, and in the files of its folder.
func (s *scenario) nobodyKnows(context.Context) error {
	secrets := [][]byte{[]byte(canary), []byte(strings.TrimPrefix(s.bus.url, "nats://"))}
	programs, err := s.rehearsers()
	if err != nil {
		return err
	}
	for _, p := range programs {
		for _, secret := range secrets {
			if bytes.Contains(p.environ, secret) || bytes.Contains(p.args, secret) {
				return fmt.Errorf("%s knows %s: %q", p, secret, p.environ)
			}
		}
	}
	files := 0
	err = filepath.WalkDir(s.nest(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		for _, secret := range secrets {
			if bytes.Contains(content, secret) {
				return fmt.Errorf("%s holds %s", path, secret)
			}
		}
		return err
	})
	if err == nil && (len(programs) < 2 || files < 5) {
		err = errors.New("only " + strconv.Itoa(len(programs)) + " programs and " + strconv.Itoa(files) + " files were found")
	}
	return err
}

// rehearser is a program of a rehearsal.
type rehearser struct{ args, environ []byte }

func (r rehearser) String() string { return string(bytes.ReplaceAll(r.args, []byte{0}, []byte(" "))) }

// rehearsers are the programs that run with a home in a rehearsal.
func (s *scenario) rehearsers() ([]rehearser, error) {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var all []rehearser
	for _, p := range processes {
		environ, err := os.ReadFile(filepath.Join(p, "environ"))
		if err != nil || !bytes.Contains(environ, []byte("HOME="+s.nest())) {
			continue // it has ended, or is none of a rehearsal
		}
		args, err := os.ReadFile(filepath.Join(p, "cmdline"))
		if err == nil && len(args) > 0 {
			all = append(all, rehearser{args, environ})
		}
	}
	return all, nil
}

// passing is a line with what the programs of a scenario need, before a command that runs
// meanwhile.
func passing(line string) string {
	flags, command, found := strings.Cut(line, " -- ")
	flags += " --pass " + envBoard + "," + envFolder
	if found {
		return flags + " -- " + command
	}
	return flags
}
