package mask

import (
	"errors"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// MaxDigits is how many digits a value of the kind [Digits] may have.
const MaxDigits = 1000

// rounds of the permutation; FF1 has ten, of NIST's SP 800-38G.
const rounds = 10

var (
	errLetters = errors.New("it is marked as digits but holds letters: mark it as text")
	errDigits  = errors.New("it has more than " + strconv.Itoa(MaxDigits) + " digits: mark it as text, or drop it")
)

// digits replaces the digits of a text.
func (m *Mask) digits(value string) (string, error) {
	var found []byte
	for _, r := range value {
		switch {
		case r >= '0' && r <= '9':
			found = append(found, byte(r))
		case unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) || r == unicode.ReplacementChar:
			return "", errLetters
		}
	}
	if len(found) > MaxDigits {
		return "", errDigits
	}
	masked := m.permute(string(found))
	var b strings.Builder
	for _, r := range value {
		if r >= '0' && r <= '9' {
			b.WriteByte(masked[0])
			masked = masked[1:]
			continue
		}
		b.WriteRune(r)
	}
	return b.String(), nil
}

// permute gives as many other digits. Among those of one length it is one to one; of more
// than one digit, a first one that is no zero stays none, and a zero stays a zero, so that a number
// is still one and equals the text of its digits.
func (m *Mask) permute(digits string) string {
	zero := strings.HasPrefix(digits, "0")
	for out := digits; ; {
		out = m.feistel(out)
		if len(digits) < 2 || strings.HasPrefix(out, "0") == zero {
			return out
		}
	}
}

// feistel is a keyed permutation of the digits of one length, as FF1 is built: the two halves
// take turns, and each time a number that the other one determines is added to one.
func (m *Mask) feistel(digits string) string {
	half := len(digits) / 2
	a, b := digits[:half], digits[half:]
	for round := range rounds {
		n := len(a)
		limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
		sum, _ := new(big.Int).SetString("0"+a, 10)
		sum.Add(sum, m.stream(round, len(digits), b, n))
		c := sum.Mod(sum, limit).String()
		if n == 0 {
			c = ""
		}
		a, b = b, strings.Repeat("0", n-len(c))+c
	}
	return a + b
}

// stream is a number that looks random, of more than n digits.
func (m *Mask) stream(round, length int, half string, n int) *big.Int {
	var bytes []byte
	for block := 0; len(bytes) < n/2+16; block++ { // two digits a byte are fewer than it holds
		bytes = append(bytes, m.hash("round", strconv.Itoa(round), strconv.Itoa(length), half, strconv.Itoa(block))...)
	}
	return new(big.Int).SetBytes(bytes)
}

// number masks a number as JSON writes it.
func (m *Mask) number(text string) (string, error) {
	mantissa, exponent := text, ""
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa, exponent = text[:i], text[i:]
	}
	masked, err := m.digits(mantissa)
	return masked + exponent, err
}
