package node

import (
	"github.com/keystead/keystead/cmd/keystead/postman"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/mail"
)

// startJobs makes the runner of background work and names who does what. It runs when
// the doors are open.
func (n *node) startJobs() {
	n.jobs = jobs.NewRunner(jobs.Options{Store: n.store, Clock: n.Clock, Logger: n.log, Metrics: n.reg})
	n.post = n.postman()
	mail.Deliver(n.jobs, n.post)
	n.gregor.HandleReminders(n.jobs)
	n.proofs.Work(n.jobs)
}

// postman carries messages to people as configured.
func (n *node) postman() *postman.Postman {
	m, s := n.cfg.Mail, n.cfg.SMS
	if m.Host == "" && !n.cfg.Devel {
		n.log.Warn("no mail server is configured (mail.host): no mail is sent, so nobody can verify an address or be written to")
	}
	return postman.New(postman.Options{
		Host: m.Host, Port: m.Port, TLS: m.TLS, From: m.From, User: m.User, Password: postman.FromFile(m.PasswordFile),
		Hook: s.Webhook, HookSecret: postman.FromFile(s.SecretFile),
		Devel: n.cfg.Devel, Logger: n.log, Clock: n.Clock, Metrics: n.reg,
	})
}
