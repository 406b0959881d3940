package rest

// ping: GET and POST ping.
func ping(*call) (any, error) { return none{}, nil }
