package push

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
)

// aps is the part of an Apple notification that the system itself reads.
type aps struct {
	Alert            string `json:"alert,omitempty"`
	Sound            string `json:"sound,omitempty"`
	ContentAvailable int    `json:"content-available,omitempty"` // 1: the app is woken and nothing is shown
}

// Payload is what a courier of this way hands to the push service, in the shape that the
// client on the other end reads: for Android one object of strings, the text among
// them as "message"; for Apple the same fields beside "aps"; for UnifiedPush the
// notification as it is. The error is ErrTooLong.
//
// client: shared/constants/platform-specific/push.native.tsx, shared/android/app/src/main/java/io/keybase/ossifrage/KeybasePushNotificationListenerService.java, shared/ios/Keybase/AppDelegate+KB.mm
func (n Notification) Payload(way Way) ([]byte, error) {
	var v any = n
	switch way {
	case Android:
		fields := n.fields()
		if n.Text != "" {
			fields["message"] = n.Text
		}
		v = fields
	case Apple, AppleDevel:
		fields := map[string]any{"aps": aps{ContentAvailable: 1}}
		if n.Text != "" {
			fields["aps"] = aps{Alert: n.Text, Sound: "default"}
		}
		for k, s := range n.fields() {
			fields[k] = s
		}
		v = fields
	}
	b, err := json.Marshal(v)
	if err == nil && len(b) > bodyBytesMax {
		err = fmt.Errorf("notification %s of %d bytes for %s: %w", n.Type, len(b), way, ErrTooLong)
	}
	return b, err
}

// fields are what clients look at; nothing in Data takes the place of another field.
func (n Notification) fields() map[string]string {
	out := maps.Clone(n.Data)
	if out == nil {
		out = map[string]string{}
	}
	delete(out, "aps")
	delete(out, "message")
	out["type"], out["x"] = n.Type, strconv.FormatInt(n.At/1000, 10)
	return out
}
