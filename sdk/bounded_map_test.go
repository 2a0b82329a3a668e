package sdk

import "testing"

func TestABoundedMapKeepsWhatWasPutLast(t *testing.T) {
	n := newBoundedMap[int, string](2)
	n.put(1, "a")
	n.put(2, "b")
	n.put(1, "c")
	if v, there := n.get(1); v != "c" || !there {
		t.Errorf("1 is %q, %t", v, there)
	}
	n.put(3, "d")
	for key, want := range map[int]string{1: "", 2: "b", 3: "d"} {
		if v, there := n.get(key); v != want || there != (want != "") {
			t.Errorf("%d is %q, %t, want %q", key, v, there, want)
		}
	}
	for key := range 1000 {
		n.put(key, "")
	}
	if len(n.values) != 2 || len(n.order) != 2 || cap(n.order) > 8 {
		t.Errorf("%d values, %d keys, room for %d", len(n.values), len(n.order), cap(n.order))
	}
}
