package node

import (
	"context"
	"net/netip"

	"github.com/keystead/keystead/chatlog/push"
	"github.com/keystead/keystead/cmd/keystead/courier"
	"github.com/keystead/keystead/cmd/keystead/postman"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/wire/gregor1"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/observe"
	"github.com/keystead/keystead/engine/store"
)

// startJobs makes the runner of background work and names who does what. It runs when
// the doors are open.
func (n *node) startJobs() {
	n.jobs = jobs.NewRunner(jobs.Options{Store: n.store, Clock: n.Clock, Logger: n.log, Metrics: n.reg})
	n.post = n.postman()
	mail.Deliver(n.jobs, n.post)
	n.gregor.HandleJobs(n.jobs)
	n.proofs.Work(n.jobs)
	n.push.Handle(n.jobs)
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

// courierOptions are how push services are reached: in devel mode also those of this
// machine.
func (n *node) courierOptions() courier.Options {
	o := courier.Options{Rand: n.Rand, Plain: n.cfg.Devel}
	if n.cfg.Devel {
		o.Allowed = func(netip.Addr) bool { return true }
	}
	return o
}

// remind wakes a user's devices for an item whose reminder is due.
func (n *node) remind(ctx context.Context, u kbsig.UID, it gregor1.ItemAndMetadata) {
	note := push.Notification{Type: "reminder", Text: "A reminder is due", Data: map[string]string{"category": it.Item.Category}}
	copy(note.ID[:], it.Metadata.MsgID)
	err := n.store.Update(ctx, func(tx *store.Tx) error { return push.Send(tx, u, note, kbsig.DeviceID{}) })
	if err != nil {
		n.log.Error("a reminder wakes nobody", observe.FieldUID, u.String(), "err", err)
	}
}
