package node

import (
	"github.com/keystead/keystead/cmd/keystead/config"
	"github.com/keystead/keystead/compat/rest"
	"github.com/keystead/keystead/engine/reports"
)

// logsBytesMax bounds the logs of clients that are kept for the operator.
const logsBytesMax = 1 << 30

// openReports opens the folder of what people send to the operator; nil if nothing is
// taken.
func (n *node) openReports() (*reports.Box, error) {
	if !n.cfg.Reports.Accept {
		return nil, nil
	}
	return reports.Open(reports.Options{
		FS: n.FS, Dir: n.cfg.ReportsPath(), Clock: n.Clock, Rand: n.Rand, LogsBytesMax: logsBytesMax,
	})
}

// featuredBots are the bots of the setting as clients read them, the first first.
func featuredBots(cfg config.Config) []rest.FeaturedBot {
	bots := cfg.FeaturedBots()
	out := make([]rest.FeaturedBot, len(bots))
	for i, b := range bots {
		out[i] = rest.FeaturedBot{
			Alias: b.Alias, Description: b.Description, Extended: b.Description, ExtendedRaw: b.Description,
			Username: b.Username, Rank: len(bots) - i,
		}
	}
	return out
}
