package events

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("categoryBytesMax", categoryBytesMax, "of the category of a piece of news"),
		limits.Bytes("bodyBytesMax", bodyBytesMax, "of a piece of news"),
		limits.Count("endsMax", endsMax, "items", "that one piece of news ends"),
		limits.Count("addresseesMax", addresseesMax, "users", "whom one entry tells the same; more become several entries"),
		limits.Count("addressedMax", addressedMax, "users", "whom one fact tells the same"),
		limits.Count("backlogMax", backlogMax, "entries", "that wait for the slowest consumer; more are refused"),
		limits.Count("batchMax", batchMax, "entries", "that a consumer is given at a time"),
		limits.Bytes("batchBytesMax", batchBytesMax, "that a consumer is given at a time, about"),
		limits.Count("batchToldMax", batchToldMax, "users", "to be told that end what a consumer is given at a time"),
		limits.Count("trimMax", trimMax, "entries", "that are deleted in one transaction"),
		limits.Bytes("consumerBytesMax", consumerBytesMax, "of a consumer's name"),
		limits.Time("retryFirst", retryFirst, "until a consumer that failed is asked again; doubles each time"),
		limits.Time("retryMax", retryMax, "between two attempts of a consumer at most"),
	}
}
