package sdk

// boundedMap is a map that forgets: it keeps the keys that were put last, a limited number.
type boundedMap[K comparable, V any] struct {
	values map[K]V
	order  []K // oldest first
	limit  int
}

func newBoundedMap[K comparable, V any](limit int) *boundedMap[K, V] {
	return &boundedMap[K, V]{values: make(map[K]V), limit: limit}
}

// get gives the zero value for a key that is not there.
func (m *boundedMap[K, V]) get(key K) (V, bool) {
	value, there := m.values[key]
	return value, there
}

// put keeps a value. A key that is there already does not become newer by it.
func (m *boundedMap[K, V]) put(key K, value V) {
	if _, there := m.values[key]; !there {
		if len(m.order) == m.limit {
			delete(m.values, m.order[0])
			m.order = m.order[1:]
		}
		m.order = append(m.order, key)
	}
	m.values[key] = value
}
