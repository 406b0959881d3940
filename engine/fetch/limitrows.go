package fetch

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Time("pageTimeout", pageTimeout, "for a page that the server fetches, name look-up included"),
		limits.Time("dialTimeout", dialTimeout, "to connect, and again for the TLS handshake"),
		limits.Bytes("pageBytesMax", pageBytesMax, "of a page that the server fetches; a longer one is refused"),
		limits.Bytes("headBytesMax", headBytesMax, "of the head of a reply"),
		limits.Bytes("urlBytesMax", urlBytesMax, "of an address as text"),
		limits.Count("atOnceMax", atOnceMax, "fetches", "that go on together"),
		limits.Time("queueTimeout", queueTimeout, "that a fetch waits for its turn"),
		limits.Count("redirectsMax", redirectsMax, "redirects", "that a request may allow; most allow none"),
		limits.Count("addressesMax", addressesMax, "addresses", "of one name that are tried"),
		limits.Time("txtTimeout", txtTimeout, "for a look-up of text records"),
		limits.Count("txtRecordsMax", txtRecordsMax, "text records", "read of one name"),
		limits.Bytes("txtBytesMax", txtBytesMax, "of a text record; a longer one is left out"),
		limits.Bytes("nameBytesMax", nameBytesMax, "of a name of the DNS"),
	}
}
