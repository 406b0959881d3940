package client

import (
	"encoding/json"
	"net/url"
)

// pukLieOnWire changes what a new device gets as per-user keys.
func boxLie(name string, f func(s *scene, reply map[string]any)) lie {
	return lie{RuleBox, name, func(s *scene) error {
		ctx := s.t.Context()
		if err := s.alice.RollPUK(ctx); err != nil {
			return err
		}
		s.on("key/fetch_per_user_key_secrets", func(_ url.Values, reply map[string]any) { f(s, reply) })
		s.laptop.cred = nil
		a := newAccount(s.v, "alice")
		a.own(s.laptop)
		a.Device = s.laptop
		return a.FetchPUKs(ctx, s.laptop)
	}}
}

func boxOf(reply map[string]any) map[string]any {
	// A copy: the world keeps the true one.
	box := map[string]any{}
	for k, v := range reply["box"].(map[string]any) {
		box[k] = v
	}
	reply["box"] = box
	return box
}

func (s *scene) sealFor(d *Device, sender *DHKey, seed Seed) string {
	b, err := sender.Seal(s.alice.Server().Random, seed[:], d.Enc.KID())
	if err != nil {
		s.t.Fatal(err)
	}
	return b.Armor()
}

func ekLie(name string, f func(s *scene) error) lie { return lie{RuleEK, name, f} }

var otherLies = []lie{
	{RulePosted, "acknowledged but not published", func(s *scene) error {
		s.mu.Lock()
		s.hold = true
		s.mu.Unlock()
		return s.alice.Unfollow(s.t.Context(), s.bob.UID)
	}},
	{RulePosted, "another link in its place", func(s *scene) error {
		ctx := s.t.Context()
		if err := s.alice.Reload(ctx); err != nil {
			return err
		}
		other := s.build(s.spec("untrack", 2, UntrackBody(s.bob.Me, "other")))
		s.on("follow", func(_ url.Values, _ map[string]any) {
			s.mu.Lock()
			defer s.mu.Unlock()
			u := s.users[s.alice.UID]
			u.entries = u.entries[:len(u.entries)-1]
			u.append(other)
			s.touch(u)
		})
		return s.alice.Unfollow(ctx, s.bob.UID)
	}},

	boxLie("no box", func(_ *scene, r map[string]any) { r["box"], r["prevs"] = nil, []any{} }),
	boxLie("a box of an older generation", func(_ *scene, r map[string]any) { boxOf(r)["generation"] = 1 }),
	boxLie("a box for another device", func(s *scene, r map[string]any) {
		boxOf(r)["receiver_kid"] = s.paper.Enc.KID().String()
	}),
	boxLie("a box that does not open", func(s *scene, r map[string]any) {
		boxOf(r)["box"] = s.sealFor(s.paper, s.alice.Device.Enc, randomSeed())
	}),
	boxLie("another seed", func(s *scene, r map[string]any) {
		boxOf(r)["box"] = s.sealFor(s.laptop, s.alice.Device.Enc, randomSeed())
	}),
	boxLie("sealed by a stranger", func(s *scene, r map[string]any) {
		boxOf(r)["box"] = s.sealFor(s.laptop, NewDHKey(randomSeed()), s.alice.PUKs[1].Seed)
	}),
	boxLie("a missing prev", func(_ *scene, r map[string]any) { r["prevs"] = []any{} }),
	boxLie("a prev of another generation", func(_ *scene, r map[string]any) {
		r["prevs"].([]any)[0].(map[string]any)["generation"] = 7
	}),
	boxLie("a prev that does not open", func(s *scene, r map[string]any) {
		ctext, _ := NewPUK(randomSeed()).SealPrev(s.alice.Server().Random, randomSeed())
		r["prevs"].([]any)[0].(map[string]any)["ctext"] = ctext
	}),
	boxLie("a prev with another seed", func(s *scene, r map[string]any) {
		ctext, _ := s.alice.PUKs[1].SealPrev(s.alice.Server().Random, randomSeed())
		r["prevs"].([]any)[0].(map[string]any)["ctext"] = ctext
	}),

	ekLie("a device key by a stranger", func(s *scene) error {
		sig := signEK(deviceEKSection, deviceEKField, NewSigningKey(randomSeed()), s.laptop.Enc.KID(), 1, s.v.LastRoot())
		s.on("user/device_eks", func(_ url.Values, r map[string]any) { r["sigs"] = []string{sig} })
		_, err := s.alice.DeviceEKs(s.t.Context())
		return err
	}),
	ekLie("a device key of a revoked device", func(s *scene) error {
		ctx := s.t.Context()
		if _, err := s.alice.PostDeviceEK(ctx, s.laptop); err != nil {
			return err
		}
		s.revoked() // the world forgets to drop it
		_, err := s.alice.DeviceEKs(ctx)
		return err
	}),
	ekLie("a device key with another time", func(s *scene) error {
		r := *s.v.LastRoot()
		r.Ctime++
		sig := signEK(deviceEKSection, deviceEKField, s.laptop.Sig, s.laptop.Enc.KID(), 1, &r)
		s.on("user/device_eks", func(_ url.Values, reply map[string]any) { reply["sigs"] = []string{sig} })
		_, err := s.alice.DeviceEKs(s.t.Context())
		return err
	}),
	ekLie("a null user key", func(s *scene) error {
		s.on("user/user_ek", func(_ url.Values, r map[string]any) {
			r["sigs"] = map[string]any{s.alice.UID.String(): nil}
		})
		_, err := s.alice.UserEK(s.t.Context(), s.alice.UID)
		return err
	}),
	ekLie("a user key by a device", func(s *scene) error {
		sig := signEK(userEKSection, userEKField, s.laptop.Sig, s.laptop.Enc.KID(), 1, s.v.LastRoot())
		s.on("user/user_ek", func(_ url.Values, r map[string]any) {
			r["sigs"] = map[string]any{s.alice.UID.String(): sig}
		})
		_, err := s.alice.UserEK(s.t.Context(), s.alice.UID)
		return err
	}),
	ekLie("a box of another user key", func(s *scene) error {
		ctx := s.t.Context()
		if _, err := s.alice.PostDeviceEK(ctx, s.laptop); err != nil {
			return err
		}
		if _, err := s.alice.PostUserEK(ctx); err != nil {
			return err
		}
		s.on("user/user_ek_box", func(_ url.Values, r map[string]any) {
			b := r["result"].(map[string]any)
			b["device_ek_generation"] = json.Number("2")
		})
		_, err := s.alice.OpenUserEK(ctx, s.laptop, 1)
		return err
	}),
}
