package rest

import (
	"errors"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/observe"
	"github.com/keystead/keystead/engine/reports"
)

const (
	// logsBodyMax bounds the logs that a client sends at once.
	logsBodyMax = 64 << 20
	// complaintBytesMax bounds a complaint with what was said.
	complaintBytesMax = 2 << 20
	// complaintTextMax bounds what somebody writes about it.
	complaintTextMax = 16 << 10
)

// errNoReports is the answer of a server that keeps no reports.
var errNoReports = status.New(status.Generic, "GENERIC", "whoever runs this server does not take logs and reports; they stay on your device")

// logsSend: POST logdump/send. client: go/status/log_send.go:LogSendContext.post
func logsSend(c *call) (any, error) {
	if c.s.Reports == nil || c.s.Reports.LogsBytesMax == 0 {
		return nil, errNoReports
	}
	parts, err := c.parts()
	if err != nil {
		return nil, err
	}
	about := struct {
		Account string            `json:"account,omitempty"` // who sent it, if that is certain
		From    string            `json:"from"`
		Said    map[string]string `json:"said"`
	}{From: c.from.Addr.String(), Said: map[string]string{}}
	if c.who != nil {
		about.Account = string(c.who.Name)
	}
	var files []reports.File
	for _, p := range parts {
		if p.file == "" {
			about.Said[p.name] = string(p.data)
			continue
		}
		name := strings.TrimSuffix(p.name, "_gz") + ".gz"
		files = append(files, reports.File{Name: name, Data: p.data})
	}
	id, err := c.keep(reports.Logs, about, files)
	if err != nil {
		return nil, err
	}
	return struct {
		ID string `json:"logdump_id"`
	}{id}, nil
}

// reportConversation: POST report/conversation.
// client: go/service/user_report.go:UserHandler.ReportUser
func reportConversation(c *call) (any, error) {
	if c.s.Reports == nil {
		return nil, errNoReports
	}
	name, err := parsed(c, "username", kbsig.ParseUsername)
	if err != nil {
		return nil, err
	}
	reported, err := accounts.ByName(c.view(), name)
	if err != nil {
		return nil, err
	}
	about := struct {
		By       string `json:"by"`
		About    string `json:"about"`
		AboutUID string `json:"about_uid"`
		Reason   string `json:"reason"`
		Comment  string `json:"comment"`
		ConvID   string `json:"conversation,omitempty"`
	}{string(c.who.Name), string(reported.Name), reported.UID.String(), c.raw("reason"), c.raw("comment"), c.raw("conv_id")}
	for _, a := range []string{"reason", "comment", "conv_id"} {
		if len(c.raw(a)) > complaintTextMax {
			return nil, status.InputField(a, "the argument "+a+" is too long")
		}
	}
	if about.Reason == "" {
		return nil, status.InputField("reason", "the argument reason is missing")
	}
	var files []reports.File
	if t := c.raw("transcript"); t != "" {
		files = append(files, reports.File{Name: "transcript.json", Data: []byte(t)})
	}
	_, err = c.keep(reports.Complaints, about, files)
	return none{}, err
}

func (c *call) keep(k reports.Kind, about any, files []reports.File) (string, error) {
	id, err := c.s.Reports.Keep(k, about, files)
	if errors.Is(err, reports.ErrFull) {
		return "", status.New(status.Generic, "GENERIC", "the server has no room for more reports; please tell whoever runs it")
	}
	if err == nil {
		c.s.Logger.Info("somebody sent a report", "kind", string(k), "id", id, observe.FieldEndpoint, c.route.name)
	}
	return id, err
}
