package push

import (
	"errors"
	"strings"
	"testing"
)

// Each way's clients find the fields where they look for them, and data cannot pretend
// to be what the system reads.
func TestPayload(t *testing.T) {
	n := Notification{
		Type: "follow", Text: "bob follows you", At: 1_700_000_000_123,
		Data: map[string]string{"username": "bob", "aps": "x", "type": "other", "message": "other"},
	}
	silent := Notification{Type: "chat.readmessage", Data: map[string]string{"b": "3"}}
	for _, tc := range []struct {
		way  Way
		n    Notification
		want string
	}{
		{Android, n, `{"message":"bob follows you","type":"follow","username":"bob","x":"1700000000"}`},
		{Apple, n, `{"aps":{"alert":"bob follows you","sound":"default"},"type":"follow","username":"bob","x":"1700000000"}`},
		{AppleDevel, silent, `{"aps":{"content-available":1},"b":"3","type":"chat.readmessage","x":"0"}`},
		{Android, silent, `{"b":"3","type":"chat.readmessage","x":"0"}`},
		{UnifiedPush, silent, `{"type":"chat.readmessage","data":{"b":"3"},"at":0}`},
	} {
		got, err := tc.n.Payload(tc.way)
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: %s, %v", tc.way, got, err)
		}
	}
	n.Text = strings.Repeat("x", bodyBytesMax)
	if _, err := n.Payload(Apple); !errors.Is(err, ErrTooLong) {
		t.Errorf("got %v", err)
	}
}
