//go:build browser

package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/golive-dev/golive/relay/relaytest"
)

// TestPageInABrowser adds a todo and finds it, as a person does. It needs Chromium:
// go test -tags browser ./examples/todo/web
func TestPageInABrowser(t *testing.T) {
	bus := relaytest.Start(t)
	serveOnline(t, bus, (&todos{}).service())
	serveOnline(t, bus, (&search{}).service())
	site := visit(t, bus, "0.0.2")
	ctx := browser(t)
	var title, todos, results string
	var picture []byte
	err := chromedp.Run(ctx,
		chromedp.EmulateViewport(900, 700),
		chromedp.Navigate(site),
		chromedp.Title(&title),
		chromedp.SendKeys("#title", "Buy milk", chromedp.ByID),
		chromedp.Click("#add", chromedp.ByID),
		chromedp.WaitVisible("#todos li"),
		chromedp.Text("#todos", &todos, chromedp.ByID),
		chromedp.SendKeys("#query", "Buy milk", chromedp.ByID),
		chromedp.Click("#search", chromedp.ByID),
		chromedp.WaitVisible("#results li"),
		chromedp.Text("#results", &results, chromedp.ByID),
		chromedp.FullScreenshot(&picture, 100),
	)
	if err != nil {
		t.Fatal(err)
	}
	if title != "Todo 0.0.2" || todos == "" || results == "" {
		t.Errorf("title %q, todos %q, results %q", title, todos, results)
	}
	if folder := os.Getenv("SCREENSHOTS"); folder != "" {
		if err := os.WriteFile(filepath.Join(folder, "todo.png"), picture, 0o644); err != nil {
			t.Error(err)
		}
	}
}

func browser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true), chromedp.UserDataDir(t.TempDir()))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}
