package store

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Count("pendingTxMax", pendingTxMax, "transactions", "that wait for the committer; more block until there is room or their time is over"),
		limits.Count("groupTxMax", groupTxMax, "transactions", "in one batch, fsync and root"),
		limits.Bytes("groupBytesMax", groupBytesMax, "of a batch, beyond which it ends"),
		limits.Time("viewsWithin", viewsWithin, "that closing the store waits for those who still read it"),
		limits.Count("pipelineGroupsMax", pipelineGroupsMax, "batches", "between their writing and their fsync"),
	}
}
