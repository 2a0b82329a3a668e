package main

// Color is what a terminal colors text with; empty: nothing.
type Color string

// Colors of what a line says; the glyph and the words say the same.
const (
	plain  Color = ""
	dim    Color = "\x1b[2m"
	red    Color = "\x1b[31m"
	green  Color = "\x1b[32m"
	yellow Color = "\x1b[33m"
	cyan   Color = "\x1b[36m"
	reset  Color = "\x1b[0m"
)

func paintIf(yes bool, color Color, text string) string {
	if !yes || color == plain {
		return text
	}
	return string(color) + text + string(reset)
}
