package main

import "testing"

func TestPricesBecomeCentsAndTextAgain(t *testing.T) {
	for price, cents := range map[string]int{"12.50 EUR": 1250, "7.05 EUR": 705, "0.01 EUR": 1, "1000.00 EUR": 100000} {
		before := article{ID: "tea", Name: "Tea", Price: price}
		after, err := toCents(before)
		if err != nil || after != (article{ID: "tea", Name: "Tea", Cents: cents}) {
			t.Errorf("%s became %+v, %v", price, after, err)
		}
		if again, err := toCents(after); again != after || err != nil {
			t.Errorf("%s, converted again, became %+v, %v", price, again, err)
		}
		if back, err := toText(after); back != before || err != nil {
			t.Errorf("%d became %+v, %v", cents, back, err)
		}
	}
}

func TestWhatIsNoPriceIsLeftAlone(t *testing.T) {
	for _, price := range []string{"", "12.50", "12,50 EUR", "12.5 EUR", "12 EUR", ".50.EUR", "-1.00 EUR", "0.00 EUR", "a.bc EUR", "1.-5 EUR"} {
		if after, err := toCents(article{ID: "tea", Price: price}); err == nil || after.Price != price {
			t.Errorf("%q became %+v, %v", price, after, err)
		}
	}
}
