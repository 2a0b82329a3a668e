package features

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cucumber/godog"

	"github.com/golive-dev/golive/relay/relaytest"
)

// shop is the example that is upgraded, with a machine of its own.
type shop struct {
	*scenario
	door, port string // where its door is, and its front ends behind it
	line       string // that has started golive

	looking sync.WaitGroup
	stop    context.CancelFunc // of those who look all the time; nil: nobody does

	mu   sync.Mutex
	seen []view // what visitors have seen, without what they saw right before
}

// view is what a visitor gets.
type view struct {
	code       int
	retryAfter string
	page       string
}

func (s *scenario) upgradeSteps(sc *godog.ScenarioContext) {
	p := &shop{scenario: s}
	sc.After(func(ctx context.Context, _ *godog.Scenario, _ error) (context.Context, error) { return ctx, p.end() })
	sc.Step(`^the programs of the shop were compiled before$`, p.compile)
	sc.Step(`^I start "(golive.*)" for version (\S+) of the shop$`, p.up)
	sc.Step(`^I have brought version (\S+) of the shop live with "(golive.*)"$`, func(ctx context.Context, version, line string) error {
		return errors.Join(p.up(ctx, line, version), p.endsWith(ctx, 0))
	})
	sc.Step(`^I go back to where the shop is up$`, func() error { return p.goBack(p.line) })
	sc.Step(`^the smoke test of the front ends fails$`, func() error { return os.WriteFile(p.file("broken"), nil, 0o600) })
	sc.Step(`^a visitor of the shop sees "(.*)", answered with (\d+)$`, p.sees)
	sc.Step(`^visitors look at the shop all the time$`, p.lookAllTheTime)
	sc.Step(`^the visitors of the shop have seen this, one after the other, and nothing else:$`, p.haveSeen)
	sc.Step(`^there is a copy of (\d+) articles as they were before$`, p.copied)
	sc.Step(`^the configuration of the shop is that of (\S+)$`, p.configured)
	sc.Step(`^no front end of the shop runs any more$`, p.frontEnded)
}

func shopFolder(below ...string) (string, error) {
	return filepath.Abs(filepath.Join(append([]string{"..", "examples", "upgrade"}, below...)...))
}

// file is one on the machine that the shop runs on.
func (p *shop) file(below ...string) string {
	return filepath.Join(append([]string{p.folder, "machine"}, below...)...)
}

func (p *shop) compile(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, compileTime)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "./...")
	var err error
	if build.Dir, err = shopFolder(); err != nil {
		return err
	}
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("compile the shop: %w\n%s", err, out)
	}
	return nil
}

func (p *shop) up(ctx context.Context, line, version string) error {
	folder, err := shopFolder(version)
	if err != nil {
		return err
	}
	if p.door == "" {
		free, err := relaytest.FindAddresses(2)
		if err != nil {
			return err
		}
		_, p.door, _ = strings.Cut(free[0], ":")
		_, p.port, _ = strings.Cut(free[1], ":")
	}
	p.line = line + " " + folder
	return p.start(ctx, p.line, p.home(),
		"SHOP_MACHINE="+p.file(), "SHOP_DOOR=127.0.0.1:"+p.door, "SHOP_PORT="+p.port)
}

// look visits the shop once.
func (p *shop) look(ctx context.Context) (view, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+p.door+"/", nil)
	if err != nil {
		return view{}, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return view{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return view{response.StatusCode, response.Header.Get("Retry-After"), string(body)}, err
}

// visitEvery is how often a visitor looks.
const visitEvery = 10 * time.Millisecond

// sees waits until a visitor sees a page.
func (p *shop) sees(ctx context.Context, text string, code int) error {
	ctx, cancel := withPatience(ctx)
	defer cancel()
	for {
		got, err := p.look(ctx)
		if err == nil && got.code == code && strings.Contains(got.page, text) {
			return nil
		}
		select {
		case <-time.After(visitEvery):
		case <-ctx.Done():
			return fmt.Errorf("a visitor sees %+v, %w", got, errors.Join(err, context.Cause(ctx)))
		}
	}
}

func (p *shop) lookAllTheTime(ctx context.Context) error {
	ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	p.looking.Go(func() {
		for ctx.Err() == nil {
			got, err := p.look(ctx)
			if err != nil && ctx.Err() == nil {
				got = view{page: err.Error()}
			}
			if ctx.Err() == nil {
				p.note(got)
			}
			select {
			case <-time.After(visitEvery):
			case <-ctx.Done():
			}
		}
	})
	return nil
}

func (p *shop) note(v view) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.seen); n == 0 || p.seen[n-1] != v {
		p.seen = append(p.seen, v)
	}
}

// haveSeen ends the looking.
func (p *shop) haveSeen(table *godog.Table) error {
	if err := p.end(); err != nil {
		return err
	}
	same := func(v view, row []string) bool {
		return fmt.Sprint(v.code) == row[0] && v.retryAfter == row[1] && strings.Contains(v.page, row[2])
	}
	var want [][]string
	for _, row := range table.Rows[1:] {
		want = append(want, []string{row.Cells[0].Value, row.Cells[1].Value, row.Cells[2].Value})
	}
	if !slices.EqualFunc(p.seen, want, same) {
		return fmt.Errorf("they have seen %+v", p.seen)
	}
	return nil
}

func (p *shop) end() error {
	if p.stop != nil {
		p.stop()
		p.looking.Wait()
	}
	return nil
}

func (p *shop) copied(count int) error {
	copies, err := filepath.Glob(p.file("backup", "articles-*.json"))
	if err != nil || len(copies) != 1 {
		return fmt.Errorf("copies are %v: %w", copies, err)
	}
	data, err := os.ReadFile(copies[0])
	if err != nil {
		return err
	}
	var articles []struct{ Price string }
	if err := json.Unmarshal(data, &articles); err != nil {
		return err
	}
	if len(articles) != count || articles[0].Price == "" {
		return fmt.Errorf("the copy is %s", data)
	}
	return nil
}

func (p *shop) configured(version string) error {
	folder, err := shopFolder(version)
	if err != nil {
		return err
	}
	want, err := os.ReadFile(filepath.Join(folder, "shop.conf"))
	if err != nil {
		return err
	}
	got, err := os.ReadFile(p.file("etc", "shop.conf"))
	if err != nil {
		return err
	}
	if string(got) != string(want) {
		return fmt.Errorf("it is\n%s", got)
	}
	return nil
}

// frontEnded fails while somebody answers behind the door.
func (p *shop) frontEnded() error {
	c, err := net.DialTimeout("tcp", "127.0.0.1:"+p.port, time.Second)
	if err != nil {
		return nil
	}
	return errors.Join(fmt.Errorf("somebody listens on port %s", p.port), c.Close())
}
