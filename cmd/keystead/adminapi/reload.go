package adminapi

import "context"

// Reload is the name of the method that has the server look at its certificates now.
const Reload = "reload"

// ReloadedDoor is what became of one door's certificate.
type ReloadedDoor struct {
	Door  string `json:"door"`
	Taken bool   `json:"taken"`           // a new pair is in use
	Until int64  `json:"until"`           // end of the pair in use, unix seconds
	Error string `json:"error,omitempty"` // why the pair on disk is not
}

// Reloaded is the result of reload; a server without certificates has no doors in it.
type Reloaded struct {
	Doors []ReloadedDoor `json:"doors"`
}

// ReloadMethod is the method reload, which fn carries out.
func ReloadMethod(fn func() []ReloadedDoor) Method {
	return typed(func(context.Context, struct{}) (Reloaded, error) {
		return Reloaded{Doors: append([]ReloadedDoor{}, fn()...)}, nil
	})
}
