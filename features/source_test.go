package features

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cucumber/godog"
)

func (s *scenario) sourceSteps(sc *godog.ScenarioContext) {
	sc.Step(`^the folder of the app (\S+) is a git repository$`, s.initRepository)
	sc.Step(`^the folder of the app (\S+) is committed to git$`, func(ctx context.Context, app string) error {
		return s.commitApp(ctx, app, "")
	})
	sc.Step(`^the folder of the app (\S+) is committed to git, with the tag (\S+)$`, s.commitApp)
	sc.Step(`^the folder (\S+) of the app (\S+) has the report of it, which holds:$`, func(folder, app string, text *godog.DocString) error {
		return s.reportHolds(filepath.Join(s.appFolder(app), folder), text)
	})
	sc.Step(`^the folder (\S+) has the report of it, which holds:$`, func(folder string, text *godog.DocString) error {
		return s.reportHolds(filepath.Join(s.home(), folder), text)
	})
	sc.Step(`^the report is the same, whoever makes it$`, s.sameReport)
	sc.Step(`^only the report is in the newest commit of the app (\S+)$`, s.onlyReport)
}

// git runs git in the folder of an app, without the configuration of whoever runs the tests, and
// gives what it says.
func (s *scenario) git(ctx context.Context, app string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = s.appFolder(app)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "GIT_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func (s *scenario) initRepository(ctx context.Context, app string) error {
	for _, args := range [][]string{{"init", "--quiet"}, {"config", "user.name", "Ann"}, {"config", "user.email", "ann@example.com"}} {
		if _, err := s.git(ctx, app, args...); err != nil {
			return err
		}
	}
	return nil
}

func (s *scenario) commitApp(ctx context.Context, app, tag string) error {
	if err := s.initRepository(ctx, app); err != nil {
		return err
	}
	calls := [][]string{{"add", "--all"}, {"commit", "--quiet", "--message", "change"}}
	if tag != "" {
		calls = append(calls, []string{"tag", tag})
	}
	for _, args := range calls {
		if _, err := s.git(ctx, app, args...); err != nil {
			return err
		}
	}
	return nil
}

// reportHolds holds that a folder has both files of one report, and that lines stand in the page
// in their order.
func (s *scenario) reportHolds(folder string, text *godog.DocString) error {
	page, machine, err := reportIn(folder)
	if err != nil {
		return err
	}
	if what := inOrder(lines(text.Content), page); what != "" {
		return fmt.Errorf("%s:\n%s", what, page)
	}
	if !strings.Contains(machine, `"format": 1`) {
		return fmt.Errorf("the other file is %s", machine)
	}
	return nil
}

// reportIn is the one report in a folder, for people and for machines.
func reportIn(folder string) (page, machine string, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", "", err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if len(names) != 2 || !strings.HasSuffix(names[0], ".json") || strings.TrimSuffix(names[0], ".json") != strings.TrimSuffix(names[1], ".md") {
		return "", "", fmt.Errorf("in the folder are %q", names)
	}
	other, errOther := os.ReadFile(filepath.Join(folder, names[0]))
	data, err := os.ReadFile(filepath.Join(folder, names[1]))
	return string(data), string(other), errors.Join(err, errOther)
}

// sameReport has the report made twice, each time by a process of its own, and compares it with
// the files.
func (s *scenario) sameReport(ctx context.Context) error {
	page, machine, err := reportIn(filepath.Join(s.appFolder("shop"), "reports"))
	if err != nil {
		return err
	}
	before, err := s.current()
	if err != nil {
		return err
	}
	for range 2 {
		for _, c := range []struct{ flags, want string }{{"", page}, {" -o json", machine}} {
			if err := s.run(ctx, "golive report ROLLOUT"+c.flags); err != nil {
				return err
			}
			t, _ := s.current()
			if got := t.out.text(); !bytes.Equal([]byte(got), []byte(c.want)) {
				return fmt.Errorf("it was\n%s\nand is\n%s", c.want, got)
			}
		}
	}
	return s.goBack(before.line)
}

// onlyReport holds that nothing but the two files of the report is in the newest commit.
func (s *scenario) onlyReport(ctx context.Context, app string) error {
	said, err := s.git(ctx, app, "show", "--name-only", "--format=")
	if err != nil {
		return err
	}
	names := lines(said)
	wrong := func(name string) bool { return !strings.HasPrefix(name, "reports/"+app+"-") }
	if len(names) != 2 || slices.ContainsFunc(names, wrong) {
		return fmt.Errorf("in the commit are %q", names)
	}
	return nil
}
