package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLinksOfThePages keeps that what a page links to is there: files and folders of the
// repository, and headings of its pages.
func TestLinksOfThePages(t *testing.T) {
	const root = "../../.."
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	pages := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".") {
			return orSkip(err)
		}
		if d.IsDir() || filepath.Ext(path) != ".md" {
			return nil
		}
		pages++
		prose, _ := readPage(t, path)
		for _, found := range link.FindAllStringSubmatch(prose, -1) {
			checkLink(t, path, found[1])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if pages < 5 {
		t.Errorf("found %d pages: is %s still the root of the repository?", pages, root)
	}
}

// orSkip is err or, where there is none, that a folder is left out.
func orSkip(err error) error {
	if err != nil {
		return err
	}
	return fs.SkipDir
}

func checkLink(t *testing.T, page, link string) {
	t.Helper()
	if strings.Contains(link, ":") { // of the web
		return
	}
	path, heading, _ := strings.Cut(link, "#")
	target := filepath.Join(filepath.Dir(page), path)
	if path == "" {
		target = page
	}
	info, err := os.Stat(target)
	if err != nil {
		t.Errorf("%s links to %s, which is not there", page, link)
		return
	}
	if heading == "" {
		return
	}
	if info.IsDir() {
		target = filepath.Join(target, "README.md")
	}
	if _, headings := readPage(t, target); !headings[heading] {
		t.Errorf("%s links to %s: there is no such heading", page, link)
	}
}

// readPage gives what a page says outside of its blocks, and its headings as GitHub
// writes them in links.
func readPage(t *testing.T, path string) (prose string, headings map[string]bool) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	mark := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	headings = make(map[string]bool)
	var b strings.Builder
	block := false
	for line := range bytes.Lines(data) {
		text := strings.TrimSpace(string(line))
		switch {
		case strings.HasPrefix(text, "```"):
			block = !block
		case block:
		case strings.HasPrefix(text, "#"):
			title := strings.ToLower(strings.TrimSpace(strings.TrimLeft(text, "#")))
			headings[strings.ReplaceAll(mark.ReplaceAllString(title, ""), " ", "-")] = true
		default:
			b.Write(line)
		}
	}
	return b.String(), headings
}
