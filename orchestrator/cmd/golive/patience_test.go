package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bounded are the functions that ask the bus with a context that somebody else bounds, and who
// does.
var bounded = map[string]string{
	"relay/relay.go ask":                  "Relay.Request, by the time that its caller gives it or Options says",
	"relay/relay.go Drain":                "itself, by the time that its caller gives it or Options says",
	"orchestrator/agent/check.go send":    "look, by the patience of the check",
	"relay/bus/jetstream.go NewJetStream": "JetStream, each question by five seconds",
}

// TestEveryCallToTheBusIsBounded keeps that what is asked of the bus has a patience of its own: a
// question that was on its way when the bus was cut off is never answered, and the client of NATS
// waits for as long as the caller's context lasts, which may be hours. JetStream is asked by way
// of [bus.JetStream], which bounds each question; all else by a context that was given a time in
// the same function. Whoever has good reason to do otherwise says so in the list above.
func TestEveryCallToTheBusIsBounded(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	used := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "examples" || d.Name() == "relaytest"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for _, u := range unbounded(t, name, string(source)) {
			if used[u.function] = true; bounded[u.function] == "" {
				t.Errorf("%s: %s", u.at, u.what)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for function := range bounded {
		if !used[function] {
			t.Errorf("%s asks nothing of the bus any more: take it off the list", function)
		}
	}
}

// TestUnboundedCallsAreFound is about the check itself.
func TestUnboundedCallsAreFound(t *testing.T) {
	for source, want := range map[string]int{
		`func f(ctx C) { js, err := jetstream.New(nc) }`:                                                       1,
		`func f(ctx C) { js, err := jetstream.NewWithDomain(nc, "d") }`:                                        1,
		`func f(ctx C) { js, err := nc.JetStream() }`:                                                          1,
		`func f(ctx C) { nc.RequestWithContext(ctx, "a", nil) }`:                                               1,
		`func f(ctx C) { nc.RequestMsgWithContext(context.Background(), m) }`:                                  1,
		`func f(ctx C) { nc.FlushWithContext(ctx) }`:                                                           1,
		`func f(ctx C) { asking, cancel := context.WithTimeout(ctx, t); nc.FlushWithContext(ctx) }`:            1,
		`func f(ctx C) { asking, cancel := context.WithTimeout(ctx, t); nc.FlushWithContext(asking) }`:         0,
		`func f(ctx C) { ctx, cancel := context.WithTimeout(ctx, t); nc.RequestWithContext(ctx, "a", nil) }`:   0,
		`func f(ctx C) { ctx, cancel := context.WithCancel(ctx); nc.RequestWithContext(ctx, "a", nil) }`:       1,
		`func f(ctx C) { ask(func(ctx C) { nc.FlushWithContext(ctx) }) }`:                                      1,
		`func f(ctx C) { ctx, end := context.WithDeadline(ctx, t); func() { nc.FlushWithContext(ctx) }() }`:    0,
		`func f(ctx C) { nc.RequestWithContext(ctx, "a", nil); ctx, cancel := context.WithTimeout(ctx, t) }`:   1,
		`func f(ctx C) { ctx, c := context.WithTimeoutCause(ctx, t, e); nc.RequestWithContext(ctx, "a", nil)}`: 0,
	} {
		if found := unbounded(t, "f.go", "package p\n"+source); len(found) != want {
			t.Errorf("%s: found %v, want %d", source, found, want)
		}
	}
}

type unboundedCall struct {
	function string // its file and name
	at       token.Position
	what     string
}

// unbounded lists the calls to the bus in a file whose context was given no time in the function
// that they stand in, and those that make a client of JetStream.
func unbounded(t *testing.T, name, source string) []unboundedCall {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []unboundedCall
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		inFunction(f.Body, nil, func(call *ast.CallExpr, what string) {
			found = append(found, unboundedCall{filepath.ToSlash(name) + " " + f.Name.Name, files.Position(call.Pos()), what})
		})
	}
	return found
}

// inFunction looks for calls in a function's body, given the names of contexts that have a time
// already.
func inFunction(body ast.Node, timed map[string]bool, found func(*ast.CallExpr, string)) {
	own := make(map[string]bool)
	for name := range timed {
		own[name] = true
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			inner := make(map[string]bool)
			for name := range own {
				inner[name] = true
			}
			for _, p := range n.Type.Params.List {
				for _, name := range p.Names {
					delete(inner, name.Name)
				}
			}
			inFunction(n.Body, inner, found)
			return false
		case *ast.AssignStmt:
			if name, ok := n.Lhs[0].(*ast.Ident); ok && len(n.Rhs) == 1 {
				if from, method, called := callee(n.Rhs[0]); called && from == "context" {
					own[name.Name] = strings.HasPrefix(method, "WithTimeout") || strings.HasPrefix(method, "WithDeadline")
				}
			}
		case *ast.CallExpr:
			if what := asks(n, own); what != "" {
				found(n, what)
			}
		}
		return true
	})
}

// callee names the method that is called, and what it is called on if that is a name.
func callee(e ast.Expr) (on, method string, ok bool) {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return "", "", false
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", "", false
	}
	if name, ok := selector.X.(*ast.Ident); ok {
		on = name.Name
	}
	return on, selector.Sel.Name, true
}

// asks tells why a call is none that is allowed; empty: it is.
func asks(call *ast.CallExpr, timed map[string]bool) string {
	on, method, ok := callee(call)
	switch {
	case !ok:
	case on == "jetstream" && strings.HasPrefix(method, "New"), method == "JetStream":
		return "JetStream is asked by way of bus.NewJetStream, which bounds each question"
	case method == "RequestWithContext", method == "RequestMsgWithContext", method == "FlushWithContext":
		if name, named := call.Args[0].(*ast.Ident); !named || !timed[name.Name] {
			return method + " has no patience of its own: give its context a time with context.WithTimeout in this function"
		}
	}
	return ""
}
