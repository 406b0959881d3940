package teamchain

import (
	"bytes"
	"maps"
	"slices"
)

// Rows is where the rows of a state are kept. Names of rows are this package's own.
type Rows interface {
	// Get returns a row, or nil if there is none.
	Get(name []byte) ([]byte, error)
	// Scan calls fn for the rows whose names begin with prefix, in order.
	Scan(prefix []byte, fn func(name, value []byte) error) error
}

// NoRows is where there are none: of a chain that has not begun.
type NoRows struct{}

// Get implements Rows.
func (NoRows) Get([]byte) ([]byte, error) { return nil, nil }

// Scan implements Rows.
func (NoRows) Scan([]byte, func(name, value []byte) error) error { return nil }

// base are the rows as they were when a state was loaded, shared by all states that come
// of it. Whoever writes changed rows back to where they came from does not change what
// older states say: the row as it was is pinned when it is changed first.
type base struct {
	rows   Rows
	pinned map[string][]byte // nil: there was none
}

func (b *base) get(name []byte) ([]byte, error) {
	if v, ok := b.pinned[string(name)]; ok {
		return v, nil
	}
	return b.rows.Get(name)
}

func (b *base) pin(name []byte) error {
	if _, ok := b.pinned[string(name)]; ok {
		return nil
	}
	v, err := b.rows.Get(name)
	if err != nil {
		return err
	}
	if b.pinned == nil {
		b.pinned = make(map[string][]byte)
	}
	b.pinned[string(name)] = v
	return nil
}

// overlay reads rows with some of them changed; a nil value is of one that is gone.
func overlay(rows Rows, changed map[string][]byte, prefix []byte, fn func(name, value []byte) error) error {
	var own []string
	for name := range changed {
		if bytes.HasPrefix([]byte(name), prefix) {
			own = append(own, name)
		}
	}
	if len(own) == 0 {
		return rows.Scan(prefix, fn)
	}
	slices.Sort(own)
	emit := func(before []byte) error {
		for len(own) > 0 && (before == nil || own[0] <= string(before)) {
			name := own[0]
			own = own[1:]
			if v := changed[name]; v != nil {
				if err := fn([]byte(name), v); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err := rows.Scan(prefix, func(name, value []byte) error {
		if err := emit(name); err != nil {
			return err
		}
		if _, ok := changed[string(name)]; ok {
			return nil
		}
		return fn(name, value)
	})
	if err != nil {
		return err
	}
	return emit(nil)
}

// scanner adapts base to Rows.
func (b *base) Get(name []byte) ([]byte, error) { return b.get(name) }

func (b *base) Scan(prefix []byte, fn func(name, value []byte) error) error {
	return overlay(b.rows, b.pinned, prefix, fn)
}

// row reads a row of the state.
func (s *State) row(name []byte) ([]byte, error) {
	if v, ok := s.changed[string(name)]; ok {
		return v, nil
	}
	return s.base.get(name)
}

func (s *State) rowsOf(prefix []byte, fn func(name, value []byte) error) error {
	return overlay(s.base, s.changed, prefix, fn)
}

// put changes a row; a nil value removes it.
func (s *State) put(name, value []byte) error {
	if err := s.base.pin(name); err != nil {
		return err
	}
	if s.changed == nil {
		s.changed = make(map[string][]byte)
	}
	s.changed[string(name)] = value
	return nil
}

// ChangedRows calls fn for the rows that differ from what the state was loaded from; a
// nil value is of one that is gone.
func (s *State) ChangedRows(fn func(name, value []byte)) {
	for _, name := range slices.Sorted(maps.Keys(s.changed)) {
		fn([]byte(name), s.changed[name])
	}
}
