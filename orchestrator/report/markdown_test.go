package report_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"

	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

// fill sets every text of a value to text, every list to one such, and every number to 2.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int, reflect.Int64:
		v.SetInt(2)
	case reflect.Uint64:
		v.SetUint(2)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), text)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1e9, 0).UTC()))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), text)
		}
	}
}

// shape is what a page is made of: each node with its depth, but for what stands in code and how
// text is cut.
func shape(page string) string {
	var b strings.Builder
	md := goldmark.New(goldmark.WithExtensions(extension.GFM))
	root := md.Parser().Parse(text.NewReader([]byte(page)))
	_ = ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering && n.Kind() != ast.KindText {
			depth := 0
			for p := n.Parent(); p != nil; p = p.Parent() {
				depth++
			}
			fmt.Fprintf(&b, "%d %s\n", depth, n.Kind())
		}
		if n.Kind() == ast.KindCodeSpan {
			return ast.WalkSkipChildren, nil
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// pageWith is a report in which every text is text.
func pageWith(text string) string {
	var r report.Report
	fill(reflect.ValueOf(&r).Elem(), text)
	return r.Markdown()
}

// FuzzMarkdownCannotBeForged holds that whatever anybody writes, a page of a report has the same
// headings, tables, rows and cells, and no link, image, emphasis or HTML.
func FuzzMarkdownCannotBeForged(f *testing.F) {
	for _, seed := range []string{
		"# heading", "\n# heading\n", "a | b", "a \\| b", "\\", "a\\", "`", "``", "` ` `", "```\ncode\n```", "a`b``c```d", "| `", "` | `",
		"[link](http://evil)", "![image](http://evil)", "<script>alert(1)</script>", "<!-- ", "&lt;b&gt;", "http://evil.example", "www.evil.example",
		"ann@example.com", "@everyone", "#123", "**bold**", "__bold__", "~~gone~~", "- [ ] task", "1. item", "> quote", "---", "===", "|---|---|",
		"\u2028# x", "\u0085# x", "\x00", "\r# x", "\t# x", "    code", "\x1b[31mred", "\u202egnp", "\xff\xfe", " ", "  x  ", "|", "||", "\\`", "$x$", ":smile:",
		strings.Repeat("`", 500), strings.Repeat("|", 500), strings.Repeat("ä", 500), "[^1]: note", "[a]: http://evil", "{{ x }}", "<http://evil>",
	} {
		f.Add(seed)
	}
	want := shape(pageWith("Benign text"))
	if strings.Count(want, "Heading") != 10 || strings.Count(want, "CodeSpan") < 40 || strings.Contains(want, "Link") {
		f.Fatalf("the page itself is not as it should be:\n%s", want)
	}
	f.Fuzz(func(t *testing.T, text string) {
		page := pageWith(text)
		got := shape(page)
		for _, kind := range []string{"Link", "Image", "HTML", "Emphasis", "Strike", "List", "Quote", "CodeBlock", "ThematicBreak"} {
			if strings.Contains(got, kind) {
				t.Errorf("%q makes a node of the kind %s:\n%s", text, kind, page)
			}
		}
		if got == want || terminal.Flat(text) == "" || got == shape(pageWith("word")) { // as a status is
			return
		}
		t.Errorf("%q changes the page:\n%s", text, page)
	})
}
