package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cucumber/godog"
)

// entry is what a double holds: a JSON object.
type entry map[string]any

// field finds a field whatever its case; nil when there is none.
func (e entry) field(name string) any {
	if v, ok := e[name]; ok {
		return v
	}
	for k, v := range e {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return nil
}

// table is a table of a feature: the fields it names, and a row for each entry.
type table struct {
	fields []string
	rows   [][]string
}

func readTable(from *godog.Table) (table, error) {
	if from == nil || len(from.Rows) == 0 {
		return table{}, errors.New("the step has no table: give one with a column for each field")
	}
	var t table
	for i, r := range from.Rows {
		var row []string
		for _, c := range r.Cells {
			row = append(row, c.Value)
		}
		if i > 0 {
			t.rows = append(t.rows, row)
			continue
		}
		for _, title := range row {
			field := strings.ToLower(title)
			if field == "" || slices.Contains(t.fields, field) {
				return table{}, fmt.Errorf("the table has the column %q twice or without a title: give each column one of its own", title)
			}
			t.fields = append(t.fields, field)
		}
	}
	return t, nil
}

// records are the rows, by field.
func (t table) records() []map[string]string {
	var all []map[string]string
	for _, row := range t.rows {
		record := make(map[string]string)
		for i, field := range t.fields {
			record[field] = row[i]
		}
		all = append(all, record)
	}
	return all
}

// row shows an entry in the table's columns.
func (t table) row(e entry) []string {
	var row []string
	for _, field := range t.fields {
		row = append(row, text(e.field(field)))
	}
	return row
}

// text is a value as a cell of a table says it: strings without quotes, nothing for
// null and for a field that is not there.
func text(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(data)
}

// diff compares the table with entries, in whatever order. It is empty when they are
// the same, else the table with a "-" before each row that is missing and a "+"
// before each that is there and should not be.
func (t table) diff(entries []entry) string {
	var there [][]string
	for _, e := range entries {
		there = append(there, t.row(e))
	}
	lines := [][]string{append([]string{" "}, titles(t.fields)...)}
	same := true
	for _, row := range t.rows {
		mark := " "
		if i := slices.IndexFunc(there, func(r []string) bool { return slices.Equal(r, row) }); i >= 0 {
			there = slices.Delete(there, i, i+1)
		} else {
			mark, same = "-", false
		}
		lines = append(lines, append([]string{mark}, row...))
	}
	for _, row := range there {
		lines = append(lines, append([]string{"+"}, row...))
	}
	if same && len(there) == 0 {
		return ""
	}
	return layOut(lines)
}

func titles(fields []string) []string {
	var all []string
	for _, f := range fields {
		all = append(all, strings.ToUpper(f))
	}
	return all
}

// layOut writes marked rows below each other, their columns in line.
func layOut(lines [][]string) string {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line[1:] {
			widths[i+1] = max(widths[i+1], utf8.RuneCountInString(visible(cell)))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		b.WriteString("\n    " + line[0] + " |")
		for i, cell := range line[1:] {
			fmt.Fprintf(&b, " %-*s |", widths[i+1], visible(cell))
		}
	}
	return b.String()
}

// visible quotes a cell that would not look like what it is.
func visible(cell string) string {
	if cell != strings.TrimSpace(cell) || strings.ContainsAny(cell, "|\n\r\t") {
		return strconv.Quote(cell)
	}
	return cell
}
