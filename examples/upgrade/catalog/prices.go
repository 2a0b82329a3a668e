package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/golive-dev/golive/sdk"
)

// setup converts the prices of all articles for catalog 2.0.0, from text to cents, while nobody
// sees the shop; and back to text when the upgrade is taken backward. Converted again, an
// article stays as it is.
func setup() sdk.SetupService {
	return sdk.SetupService{Service: "catalog", Version: "2.0.0", Offline: each(toCents), RevertOffline: each(toText)}
}

// each is a script that converts one article after the other.
func each(convert func(article) (article, error)) sdk.Script {
	return func(ctx context.Context, run *sdk.Run) error {
		var articles []article
		if err := run.Request(ctx, "catalog.stored", nil, &articles); err != nil {
			return err
		}
		for i, a := range articles {
			converted, err := convert(a)
			if err != nil {
				return sdk.Permanent(fmt.Errorf("article %s: %w", a.ID, err))
			}
			if converted != a {
				if err := run.Request(ctx, "catalog.store", converted, nil); err != nil {
					return err
				}
			}
			run.Progress(int64(i+1), int64(len(articles)), "")
		}
		return nil
	}
}

const currency = " EUR"

// toCents makes 1250 of 12.50 EUR.
func toCents(a article) (article, error) {
	if a.Cents != 0 {
		return a, nil
	}
	amount, inEuros := strings.CutSuffix(a.Price, currency)
	euros, cents, _ := strings.Cut(amount, ".")
	n, err := strconv.Atoi(euros + cents)
	if !inEuros || len(cents) != 2 || err != nil || n < 1 {
		return a, fmt.Errorf("its price is %q: write it like 12.50 EUR", a.Price)
	}
	a.Cents, a.Price = n, ""
	return a, nil
}

// toText makes 12.50 EUR of 1250.
func toText(a article) (article, error) {
	if a.Cents != 0 {
		a.Price, a.Cents = fmt.Sprintf("%d.%02d%s", a.Cents/100, a.Cents%100, currency), 0
	}
	return a, nil
}
