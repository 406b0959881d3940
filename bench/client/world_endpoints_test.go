package client

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// answer is the world's honest answer.
func (w *world) answer(endpoint string, q url.Values, body map[string]any, me *resident) (map[string]any, *refusal) {
	switch endpoint {
	case "invitation_bypass_request":
		return map[string]any{"invitation_id": "00"}, nil
	case "signup":
		return w.signup(q)
	case "getsalt":
		u := w.users[UIDOf(q.Get("email_or_username"))]
		if u == nil {
			return nil, &refusal{203, "BAD_LOGIN_USER_NOT_FOUND"}
		}
		return map[string]any{"salt": u.salt, "login_session": "AAAA"}, nil
	case "login":
		return w.session(w.users[UIDOf(q.Get("email_or_username"))]), nil
	case "merkle/root":
		return w.rootAnswer(q), nil
	case "merkle/path":
		return w.pathAnswer(q)
	case "merkle/pvl", "merkle/proof_params", "merkle/external_urls":
		return map[string]any{"kit_json": kitOf(strings.TrimPrefix(endpoint, "merkle/"))}, nil
	case "merkle/first_root_with_skips":
		return map[string]any{"seqno": 1}, nil
	case "user/lookup":
		return w.lookup(q)
	case "sig/get":
		return w.sigs(q)
	case "key/owner/device":
		return w.ownerDevice(q)
	case "user/names":
		users := map[string]any{}
		for _, id := range strings.Split(q.Get("uids"), ",") {
			uid, _ := ParseUID(id)
			users[id] = map[string]any{"username": w.users[uid].name}
		}
		return map[string]any{"users": users}, nil
	case "kex2/send":
		w.relay[q.Get("I")] = append(w.relay[q.Get("I")], []byte(q.Get("msg")))
		return nil, nil
	case "kex2/receive":
		msgs := []any{}
		for _, m := range w.relay[q.Get("I")] {
			msgs = append(msgs, map[string]any{"msg": string(m)})
		}
		return map[string]any{"msgs": msgs}, nil
	case "device/for_users":
		return map[string]any{"user_configs": body["user_configs"]}, nil
	}
	if me == nil {
		return nil, &refusal{201, "LOGIN_REQUIRED"}
	}
	return w.private(endpoint, q, body, me)
}

// private answers what needs a session.
func (w *world) private(endpoint string, q url.Values, body map[string]any, me *resident) (map[string]any, *refusal) {
	switch endpoint {
	case "new_session":
		return w.session(me), nil
	case "sesscheck", "user/has_random_pw", "downgrade/cancel":
		return nil, nil
	case "device/update":
		me.halves[q.Get("kid")] = q.Get("lks_client_half")
		return nil, nil
	case "key/multi":
		return nil, w.keyMulti(body, me)
	case "follow", "sig/revoke", "sig/post":
		return w.postedForm(q, me)
	case "nuke":
		w.reset(me)
		return nil, nil
	case "sig/multi":
		return nil, w.sigMulti(body, me)
	case "team/get":
		return w.teamGet(q, me)
	case "downgrade/key", "downgrade/sig", "downgrade/team":
		w.leases++
		r := w.top()
		return map[string]any{"downgrade_lease_id": fmt.Sprintf("%032x", w.leases), "merkle_seqno": r.seqno, "hash_meta": hashMetaOf(r.payload).String()}, nil
	case "passphrase/recover":
		return map[string]any{"ctext": me.halves[q.Get("kid")], "passphrase_generation": 1}, nil
	case "key/fetch_per_user_key_secrets":
		return w.pukSecrets(q, me), nil
	case "key/fetch_private":
		return map[string]any{"version": me.idVersion, "devices": map[string]any{}}, nil
	case "device/clone_detection_token":
		return map[string]any{"token": q.Get("stage"), "clones": 1}, nil
	default:
		return w.ephemeral(endpoint, q, me)
	}
}

func (w *world) ephemeral(endpoint string, q url.Values, me *resident) (map[string]any, *refusal) {
	switch endpoint {
	case "user/device_ek":
		me.deviceEKs[q.Get("device_id")] = q.Get("sig")
		return nil, nil
	case "user/device_eks":
		sigs := []string{}
		for _, s := range me.deviceEKs {
			sigs = append(sigs, s)
		}
		return map[string]any{"sigs": sigs}, nil
	case "user/user_ek":
		if q.Get("sig") == "" {
			sigs := map[string]any{}
			uid, _ := ParseUID(q.Get("uids"))
			if u := w.users[uid]; u != nil && u.userEK != "" {
				sigs[uid.String()] = u.userEK
			}
			return map[string]any{"sigs": sigs}, nil
		}
		me.userEK, me.ekBoxes = q.Get("sig"), make(map[string]map[string]any)
		var boxes []map[string]any
		_ = json.Unmarshal([]byte(q.Get("boxes")), &boxes)
		for _, b := range boxes {
			me.ekBoxes[b["recipient_device_id"].(string)] = b
		}
		return nil, nil
	case "user/user_ek_box":
		b := me.ekBoxes[q.Get("recipient_device_id")]
		if b == nil {
			return map[string]any{"result": nil}, nil
		}
		return map[string]any{"result": map[string]any{"box": b["box"], "device_ek_generation": b["recipient_generation"], "sig": me.userEK}}, nil
	}
	return nil, &refusal{100, "INPUT_ERROR"}
}

func (w *world) session(u *resident) map[string]any {
	return map[string]any{
		"uid": u.uid.String(), "session": "session of " + u.name, "csrf_token": "csrf",
		"me": map[string]any{"basics": map[string]any{"username": u.name, "passphrase_generation": 1, "eldest_seqno": 1}},
	}
}

func (w *world) signup(q url.Values) (map[string]any, *refusal) {
	name := strings.ToLower(q.Get("username"))
	uid := UIDOf(name)
	if w.users[uid] != nil {
		return nil, &refusal{701, "BAD_SIGNUP_USERNAME_TAKEN"}
	}
	u := &resident{
		name: name, uid: uid, salt: q.Get("salt"), owner: make(map[string]DeviceID), halves: make(map[string]string),
		boxes: make(map[string]map[string]any), prevs: make(map[int]string), deviceEKs: make(map[string]string),
	}
	w.users[uid] = u
	w.touch(u)
	return w.session(u), nil
}

func (w *world) rootAnswer(q url.Values) map[string]any {
	r := w.top()
	if q.Get("last") == fmt.Sprint(r.seqno) {
		return map[string]any{"seqno": r.seqno}
	}
	out := w.rootObject(r)
	if last, err := strconv.Atoi(q.Get("last")); err == nil {
		out["skips"] = w.skips(Seqno(last), r.seqno)
	}
	return out
}

func (w *world) rootObject(r *worldRoot) map[string]any {
	return map[string]any{
		"seqno": r.seqno, "payload_json": r.payload, "sigs": map[string]any{w.key.KID().String(): map[string]any{"sig": r.sig, "fingerprint": nil}},
	}
}

func (w *world) skips(older, newer Seqno) []string {
	out := []string{}
	for _, s := range SkipPath(older, newer) {
		out = append(out, w.roots[s-1].payload)
	}
	return out
}

func (w *world) pathAnswer(q url.Values) (map[string]any, *refusal) {
	tail, _ := strconv.Atoi(q.Get("tail"))
	r := w.roots[tail-1]
	reply := map[string]any{"root": map[string]any{"seqno": r.seqno}}
	if q.Get("start_seqno") != "" || q.Get("start_hash_meta") != "" {
		i := slices.IndexFunc(w.roots, func(x *worldRoot) bool {
			return fmt.Sprint(x.seqno) == q.Get("start_seqno") || hashMetaOf(x.payload).String() == q.Get("start_hash_meta")
		})
		if i < 0 {
			return nil, &refusal{205, "NOT_FOUND"}
		}
		r = w.roots[i]
		reply["root"] = w.rootObject(r)
		reply["skips"] = w.skips(r.seqno, Seqno(tail))
	}
	if q.Get("no_leaf") != "" {
		return reply, nil
	}
	id := q.Get("uid") + q.Get("leaf_id")
	uid, _ := ParseUID(id)
	u := w.users[uid]
	if team, err := ParseTeamID(id); err == nil && q.Get("start_seqno")+q.Get("start_hash_meta") == "" {
		if t := w.teams[team]; t != nil && r.teams[team] != t.tail.Seqno && !w.hold {
			return nil, &refusal{300, "MERKLE_UPDATE_ROOT"}
		}
	}
	if q.Get("uid") != "" {
		if u == nil {
			return nil, &refusal{205, "NOT_FOUND"}
		}
		if u.leafVer != r.tails[uid] && !w.hold {
			return nil, &refusal{300, "MERKLE_UPDATE_ROOT"}
		}
		reply["uid"], reply["username"], reply["username_cased"], reply["id_version"] = id, u.name, u.name, u.idVersion
		reply["uid_proof_path"], reply["reset_chain"] = nil, u.resets
		reply["sigs"] = map[string]any{"version": 0, "hints": []any{}}
	}
	if team, err := ParseTeamID(id); err == nil && r.blind != nil {
		reply["enc_value_with_proof"], reply["last_hidden_seqno"] = r.blind.proof(team), len(w.team(team).hidden)
	}
	path := []any{map[string]any{"prefix": id[:2], "node": map[string]any{"val": r.top}}}
	if leaf, ok := r.leaves[id[:2]]; ok {
		path = append(path, map[string]any{"node": map[string]any{"val": leaf}})
	}
	reply["path"] = path
	return reply, nil
}

func (w *world) lookup(q url.Values) (map[string]any, *refusal) {
	uid, _ := ParseUID(q.Get("uid"))
	if q.Get("username") != "" {
		uid = UIDOf(q.Get("username"))
	}
	u := w.users[uid]
	if u == nil {
		return nil, &refusal{205, "NOT_FOUND"}
	}
	obj := map[string]any{
		"id": uid.String(), "basics": map[string]any{"username": u.name, "status": 0, "id_version": u.idVersion, "salt": u.salt, "passphrase_generation": 1, "last_id_change": 1},
		"public_keys": map[string]any{"all_bundles": append([]string{}, u.bundles...)},
	}
	if q.Get("username") != "" {
		return map[string]any{"them": []any{obj}}, nil
	}
	return map[string]any{"them": obj}, nil
}

func (w *world) sigs(q url.Values) (map[string]any, *refusal) {
	uid, _ := ParseUID(q.Get("uid"))
	low, _ := strconv.Atoi(q.Get("low"))
	out := []any{}
	u := w.users[uid]
	for i := low; i < len(u.entries); i++ {
		e := map[string]any{}
		for k, v := range u.entries[i] {
			if k != "s2" {
				e[k] = v
			}
		}
		if s2, ok := u.entries[i]["s2"]; ok && q.Get("c3") == "2" && i+1 < len(u.entries) {
			e = map[string]any{"s2": s2}
		}
		out = append(out, e)
	}
	return map[string]any{"sigs": out}, nil
}

// keyMulti believes every link and box.
func (w *world) keyMulti(body map[string]any, me *resident) *refusal {
	sigs, _ := body["sigs"].([]any)
	for _, s := range sigs {
		e, _ := s.(map[string]any)
		packet, _ := base64.StdEncoding.DecodeString(e["sig"].(string))
		p, err := ParsePacket(packet)
		if err != nil {
			return &refusal{100, "INPUT_ERROR"}
		}
		w.record(me, p, packet, string(p.Payload), 1)
		if pub, ok := e["public_key"].(string); ok {
			me.bundles = append(me.bundles, pub)
			o, _ := parseObject(p.Payload)
			id, _ := o.str("body", "device", "id")
			me.owner[pub], _ = ParseDeviceID(id)
			if e["type"] == "eldest" {
				me.eldest, _ = ParseKID(pub)
			}
		}
	}
	if puk, ok := body["per_user_key"].(map[string]any); ok {
		gen := int(puk["generation"].(float64))
		me.gen = max(me.gen, gen)
		if prev, ok := puk["prev"].(string); ok {
			me.prevs[gen-1] = prev
		}
		for _, b := range puk["boxes"].([]any) {
			box := b.(map[string]any)
			me.boxes[box["receiver_kid"].(string)] = box
		}
	}
	w.touch(me)
	return nil
}

// record stores a link in the form in which it is served.
func (w *world) record(u *resident, p *Packet, packet []byte, inner string, version int) {
	id := linkIDOf(p.Payload)
	e := map[string]any{"sig_version": version, "payload_json": inner}
	if version == 1 {
		e["si1"] = b64(p.Sig)
	} else {
		v, _ := unpack(p.Payload)
		o, _ := outerFrom(v)
		fields := int64(o.Fields)
		o.Seqno, o.Prev, o.Curr = 0, nil, nil // saves space, as the original does
		var m packer
		m.array(3)
		m.bin(p.Sig)
		o.encodeTo(&m)
		m.int(fields)
		e["si2"] = b64(m)
		if stubbableType(o.Type) {
			e["s2"] = b64(p.Payload)
		}
	}
	u.entries = append(u.entries, e)
	u.tail = &Triple{Seqno(len(u.entries)), id, SigIDBaseOf(packet)}
}

func (w *world) postedForm(q url.Values, me *resident) (map[string]any, *refusal) {
	packet, _ := base64.StdEncoding.DecodeString(q.Get("sig"))
	p, err := ParsePacket(packet)
	if err != nil {
		return nil, &refusal{100, "INPUT_ERROR"}
	}
	inner, version := q.Get("sig_inner"), 2
	if inner == "" {
		inner, version = string(p.Payload), 1
	}
	w.record(me, p, packet, inner, version)
	w.touch(me)
	me.proofs++
	return map[string]any{"proof_text": "I am " + me.name, "proof_id": fmt.Sprint(me.proofs)}, nil
}

func (w *world) ownerDevice(q url.Values) (map[string]any, *refusal) {
	for _, u := range w.users {
		if id, ok := u.owner[q.Get("kid")]; ok {
			return map[string]any{"uid": u.uid.String(), "device_id": id.String(), "device_name": "x", "device_ctime": 1}, nil
		}
	}
	return nil, &refusal{205, "NOT_FOUND"}
}

func (w *world) pukSecrets(q url.Values, me *resident) map[string]any {
	have, _ := strconv.Atoi(q.Get("generation"))
	if have >= me.gen {
		return map[string]any{"box": nil, "prevs": []any{}}
	}
	prevs := []any{}
	for g := me.gen - 1; g > have; g-- {
		prevs = append(prevs, map[string]any{"ctext": me.prevs[g], "generation": g})
	}
	for kid, box := range me.boxes {
		for sig, id := range me.owner {
			if id.String() == q.Get("device_id") && sig == kid {
				return map[string]any{"box": box, "prevs": prevs}
			}
		}
	}
	return map[string]any{"box": nil, "prevs": prevs}
}

// reset forgets the keys and writes the reset chain's next entry.
func (w *world) reset(u *resident) {
	var prev any
	if n := len(u.resets); n > 0 {
		prev = nodeHashOf(u.resets[n-1]).String()
	}
	r := w.top()
	u.resets = append(u.resets, mustJSON(map[string]any{
		"ctime": w.clock, "merkle_root": map[string]any{"hash_meta": hashMetaOf(r.payload).String(), "seqno": r.seqno},
		"prev":        map[string]any{"eldest_kid": u.eldest.String(), "public_seqno": u.tail.Seqno, "reset": prev},
		"reset_seqno": len(u.resets) + 1, "type": "reset", "uid": u.uid.String(),
	}))
	u.eldest, u.gen = KID{}, 0
	u.boxes, u.prevs = make(map[string]map[string]any), make(map[int]string)
	w.touch(u)
}
