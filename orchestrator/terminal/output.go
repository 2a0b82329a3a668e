package terminal

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"text/tabwriter"

	"github.com/goccy/go-yaml"
)

// Print writes an answer to w in a form: json, yaml, jsonl, or else as the text that table
// writes; nil: no text. A list is a line for each of its elements in jsonl. The error is that
// of writing; what table writes gives none.
func Print(w io.Writer, form string, answer any, table func(io.Writer)) error {
	switch form {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(answer)
	case "jsonl":
		return printLines(w, answer)
	case "yaml":
		data, err := json.Marshal(answer)
		if err != nil {
			return err
		}
		if data, err = yaml.JSONToYAML(data); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	}
	if table != nil {
		table(w)
	}
	return nil
}

// printLines writes each element of a list, or the one answer, on a line.
func printLines(w io.Writer, answer any) error {
	e := json.NewEncoder(w)
	list := reflect.ValueOf(answer)
	if list.Kind() != reflect.Slice {
		return e.Encode(answer)
	}
	for i := range list.Len() {
		if err := e.Encode(list.Index(i).Interface()); err != nil {
			return err
		}
	}
	return nil
}

// Columns writes rows below a header, in columns that are as wide as their cells.
func Columns(w io.Writer, header []string, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, cell)
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush() // a broken pipe ends the process anyway
}
