package gregor

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("msgIDBytesMax", msgIDBytesMax, "of a message's id"),
		limits.Bytes("categoryBytesMax", categoryBytesMax, "of a message's category"),
		limits.Bytes("bodyBytesMax", bodyBytesMax, "of a message"),
		limits.Count("dismissedIDsMax", dismissedIDsMax, "ids", "in one dismissal"),
		limits.Count("dismissedRangesMax", dismissedRangesMax, "ranges", "in one dismissal"),
		limits.Count("skippedIDsMax", skippedIDsMax, "ids", "skipped by one range of a dismissal"),
		limits.Count("itemsMax", itemsMax, "live items", "of one user; beyond them the oldest are dismissed"),
		limits.Bytes("itemBytesMax", itemBytesMax, "of live items of one user; beyond them the oldest are dismissed"),
		limits.Count("remindersMax", remindersMax, "times", "at which one item is told again"),
		limits.Count("remindersAnsweredMax", remindersAnsweredMax, "reminders", "in one answer"),
		limits.Bytes("systemBytesMax", systemBytesMax, "of the name of an out-of-band message's system"),
		limits.Time("deadKeptFor", deadKeptFor, "that ended messages are remembered"),
		limits.Count("deadMax", deadMax, "ended messages", "of one user that are remembered"),
		limits.Count("movedMax", movedMax, "times", "that a message is computed again because its user's records changed meanwhile"),
		limits.Count("subscriptionsMax", subscriptionsMax, "connections", "of one user that are told; the oldest makes room"),
		limits.Count("deliveredAtOnceMax", deliveredAtOnceMax, "users", "to whom news is delivered at the same time"),
		limits.Time("hintLasts", hintLasts, "that an item lasts which only makes clients look again"),
		limits.Count("offsetMax", offsetMax, "milliseconds", "of a time given as an offset"),
	}
}
