package mail

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("addressBytesMax", addressBytesMax, "of a mail address that is written to"),
		limits.Bytes("numberBytesMax", numberBytesMax, "of a telephone number"),
		limits.Bytes("subjectBytesMax", subjectBytesMax, "of the subject of a mail"),
		limits.Bytes("textBytesMax", textBytesMax, "of the text of a mail"),
		limits.Bytes("smsBytesMax", smsBytesMax, "of a text message to a telephone"),
		limits.Count("waitingMax", waitingMax, "messages", "that wait to be sent, mail and text messages each; more are refused"),
		limits.Count("waitingPerReceiverMax", waitingPerReceiverMax, "messages", "that wait for one receiver; more are refused"),
	}
}
