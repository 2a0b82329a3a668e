package features

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/cucumber/godog"

	"github.com/golive-dev/golive/relay"
)

func (s *scenario) darkLaunchSteps(sc *godog.ScenarioContext) {
	sc.Step(`^I start "(golive.*)" for version (\S+) of the dark launch$`, func(ctx context.Context, line, version string) error {
		folder, err := filepath.Abs(filepath.Join(darkLaunchFolder, version))
		if err != nil {
			return err
		}
		return s.start(ctx, line+" "+folder, s.home(), "WEB_LISTEN=127.0.0.1:0")
	})
	sc.Step(`^somebody starts web (\S+) of the dark launch$`, s.startWeb)
	sc.Step(`^visitors add these todos:$`, s.visitorsAdd)
	sc.Step(`^visitors see (no|a) search$`, func(ctx context.Context, which string) error { return s.seeSearch(ctx, which == "a") })
	sc.Step(`^visitors who search for "(.*)" find:$`, s.visitorsFind)
	sc.Step(`^todo-search itself finds for "(.*)":$`, s.searchFinds)
}

var darkLaunchFolder = filepath.Join("..", "examples", "dark-launch")

// startWeb starts a web that shows search beside the one that golive up has started. It is
// compiled first: the go command would outlive the scenario's end.
func (s *scenario) startWeb(ctx context.Context, version string) error {
	ctx, cancel := context.WithTimeout(ctx, compileTime)
	defer cancel()
	folder, err := todoFolder()
	if err != nil {
		return err
	}
	program := filepath.Join(s.folder, "web")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./web")
	build.Dir, build.Env = folder, os.Environ()
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("compile web: %w\n%s", err, out)
	}
	bus, err := s.addressOfBus()
	if err != nil {
		return err
	}
	t, err := s.launch("web "+version, []string{program, "-search=shown"}, s.elsewhere(),
		relay.EnvURL+"="+bus, relay.EnvVersion+"="+version, "WEB_LISTEN=127.0.0.1:0")
	if err != nil {
		return err
	}
	s.others = append(s.others, t)
	return t.err.await(ctx, t.ended, func(text string) string { return inOrder([]string{`… "state": "offline"}`}, text) })
}

// visit sends a request to the page of the web that is online, as visitors do, and gives
// what they see then.
func (s *scenario) visit(ctx context.Context, method, path string, form url.Values) (string, error) {
	ctx, cancel := withPatience(ctx)
	defer cancel()
	o, err := s.look(ctx)
	if err != nil {
		return "", err
	}
	var web struct{ URL string }
	if err := o.relay.Request(ctx, "web.ping", nil, &web); err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, method, web.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s%s is answered with %s", method, web.URL, path, response.Status)
	}
	return string(page), err
}

func (s *scenario) visitorsAdd(ctx context.Context, table *godog.Table) error {
	for _, row := range table.Rows {
		if _, err := s.visit(ctx, http.MethodPost, "/", url.Values{"title": {row.Cells[0].Value}}); err != nil {
			return err
		}
	}
	return nil
}

func (s *scenario) seeSearch(ctx context.Context, want bool) error {
	page, err := s.visit(ctx, http.MethodGet, "/", nil)
	if err != nil {
		return err
	}
	if !strings.Contains(page, "What is to be done?") {
		return fmt.Errorf("that is not the page: %s", page)
	}
	if is := strings.Contains(page, `role="search"`); is != want || !want && strings.Contains(strings.ToLower(page), "search") {
		return fmt.Errorf("the page has a search: %t; it is: %s", is, page)
	}
	return nil
}

var (
	resultList = regexp.MustCompile(`(?s)<ol id="results".*?</ol>`)
	resultItem = regexp.MustCompile(`<li>(.*?)</li>`)
)

func (s *scenario) visitorsFind(ctx context.Context, query string, table *godog.Table) error {
	page, err := s.visit(ctx, http.MethodGet, "/?q="+url.QueryEscape(query), nil)
	if err != nil {
		return err
	}
	var found []string
	for _, item := range resultItem.FindAllStringSubmatch(resultList.FindString(page), -1) {
		found = append(found, html.UnescapeString(item[1]))
	}
	return sameTitles(found, table)
}

// searchFinds asks the service that visitors may not see yet.
func (s *scenario) searchFinds(ctx context.Context, query string, table *godog.Table) error {
	ctx, cancel := withPatience(ctx)
	defer cancel()
	o, err := s.look(ctx)
	if err != nil {
		return err
	}
	var hits []struct{ Title string }
	if err := o.relay.Request(ctx, "todo-search.find", map[string]string{"query": query}, &hits); err != nil {
		return err
	}
	var found []string
	for _, hit := range hits {
		found = append(found, hit.Title)
	}
	return sameTitles(found, table)
}

// sameTitles compares titles with those of a table, in any order.
func sameTitles(found []string, table *godog.Table) error {
	var want []string
	for _, row := range table.Rows {
		want = append(want, row.Cells[0].Value)
	}
	slices.Sort(want)
	slices.Sort(found)
	if !slices.Equal(want, found) {
		return fmt.Errorf("it finds %q", found)
	}
	return nil
}
