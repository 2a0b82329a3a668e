package features

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/cucumber/godog"
)

func (s *scenario) todoSteps(sc *godog.ScenarioContext) {
	sc.Step(`^the programs of the todo app were compiled before$`, s.compileTodo)
	sc.Step(`^I start "(golive.*)" for version (\S+) of the todo app$`, func(ctx context.Context, line, version string) error {
		folder, err := todoFolder()
		if err != nil {
			return err
		}
		if version == "0.0.1" {
			folder = filepath.Join(folder, version)
		}
		return s.start(ctx, line+" "+folder, s.home(), "WEB_LISTEN=127.0.0.1:0")
	})
	sc.Step(`^I add these todos:$`, s.addTodos)
	sc.Step(`^searching for "(.*)" finds:$`, s.findTodos)
}

// compileTime is what compiling may take on a machine that has never done it.
const compileTime = 150 * time.Second

func todoFolder() (string, error) { return filepath.Abs(filepath.Join("..", "examples", "todo")) }

func (s *scenario) compileTodo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, compileTime)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "./...")
	folder, err := todoFolder()
	if err != nil {
		return err
	}
	build.Dir, build.Env = folder, os.Environ()
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("compile the todo app: %w\n%s", err, out)
	}
	return nil
}

var pageURL = regexp.MustCompile(`web +\S+ +\d+ +(http://\S+)`)

// call sends a request to the page's API, at the address that golive has told.
func (s *scenario) call(ctx context.Context, method, path string, body, answer any) error {
	ctx, cancel := withPatience(ctx)
	defer cancel()
	t, err := s.current()
	if err != nil {
		return err
	}
	var page string
	err = t.out.await(ctx, t.ended, func(text string) string {
		found := pageURL.FindStringSubmatch(text)
		if found == nil {
			return "golive has not said where the page is"
		}
		page = found[1]
		return ""
	})
	if err != nil {
		return err
	}
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, page+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		return fmt.Errorf("%s %s is answered with %s", method, path, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(answer)
}

func (s *scenario) addTodos(ctx context.Context, table *godog.Table) error {
	for _, row := range table.Rows {
		var added struct{ ID string }
		title := map[string]string{"title": row.Cells[0].Value}
		if err := s.call(ctx, http.MethodPost, "/api/todos", title, &added); err != nil {
			return err
		}
	}
	return nil
}

func (s *scenario) findTodos(ctx context.Context, query string, table *godog.Table) error {
	var found []struct{ Title string }
	if err := s.call(ctx, http.MethodGet, "/api/search?q="+url.QueryEscape(query), nil, &found); err != nil {
		return err
	}
	var want, got []string
	for _, row := range table.Rows {
		want = append(want, row.Cells[0].Value)
	}
	for _, hit := range found {
		got = append(got, hit.Title)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		return fmt.Errorf("it finds %q", got)
	}
	return nil
}
