package sdk

// newest is a map that forgets: it keeps the keys that were put last, a limited number.
type newest[K comparable, V any] struct {
	values map[K]V
	order  []K // oldest first
	limit  int
}

func newNewest[K comparable, V any](limit int) *newest[K, V] {
	return &newest[K, V]{values: make(map[K]V), limit: limit}
}

// get gives the zero value for a key that is not there.
func (n *newest[K, V]) get(key K) (V, bool) {
	value, there := n.values[key]
	return value, there
}

// put keeps a value. A key that is there already does not become newer by it.
func (n *newest[K, V]) put(key K, value V) {
	if _, there := n.values[key]; !there {
		if len(n.order) == n.limit {
			delete(n.values, n.order[0])
			n.order = n.order[1:]
		}
		n.order = append(n.order, key)
	}
	n.values[key] = value
}
