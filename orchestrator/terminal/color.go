package terminal

// Color is what a terminal colors text with; empty: nothing.
type Color string

// Colors of what a line says; the glyph and the words say the same.
const (
	Plain  Color = ""
	Dim    Color = "\x1b[2m"
	Red    Color = "\x1b[31m"
	Green  Color = "\x1b[32m"
	Yellow Color = "\x1b[33m"
	cyan   Color = "\x1b[36m"
	reset  Color = "\x1b[0m"
)

// paintIf colors text, if that is wanted.
func paintIf(yes bool, color Color, text string) string {
	if !yes || color == Plain {
		return text
	}
	return string(color) + text + string(reset)
}
