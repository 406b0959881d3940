package preset

import "github.com/keystead/keystead/compat/kbsig"

// person is one ready-made account: what its owner has done with it, in order.
type person struct {
	name     kbsig.Username
	fullName string
	deeds    []deed
}

// deed is one thing that a person did; it posts as many links as links says.
type deed interface{ links() int64 }

type (
	// begins is the first device: eldest key and encryption key.
	begins struct {
		device string
		id     string // in hex, where tests ask for it; derived where they do not
	}
	// adds is another device, by the first one.
	adds struct {
		device string
		kind   string
	}
	// proves is an account elsewhere.
	proves struct{ service, username string }
	// hosts is a web site.
	hosts struct{ protocol, hostname string }
	// follows is somebody made before.
	follows struct{ name kbsig.Username }
)

func (begins) links() int64  { return 2 }
func (adds) links() int64    { return 2 }
func (proves) links() int64  { return 1 }
func (hosts) links() int64   { return 1 }
func (follows) links() int64 { return 1 }

// Kinds of devices. client: go/protocol/keybase1/device.go
const (
	desktop = "desktop"
	paper   = "backup"
)

// people are the ready-made accounts, in the order of their making. Names, services and
// numbers of devices are what the client's tests ask for; the rest is ours.
// client: go/engine/id_test.go, go/libkb/upak_loader_test.go, go/engine/identify2_test.go, go/uidmap/servicemap_test.go,
// go/saltpackkeys/saltpack_recipient_keyfinder_engine_test.go
var people = []person{
	{"t_alice", "", []deed{begins{device: "home computer"}, encrypts{"t_alice@example.org"}, proves{"github", "kbtester2"}, proves{"twitter", "tacovontaco"}}},
	{"t_bob", "", []deed{begins{device: "home computer"}, encrypts{"t_bob@example.org"}, proves{"github", "kbtester1"}, proves{"twitter", "kbtester1"}}},
	{"t_charlie", "", []deed{begins{device: "home computer"}, encrypts{"t_charlie@example.org"}, proves{"github", "tacoplusplus"}, proves{"twitter", "tacovontaco"}}},
	{"t_doug", "", []deed{begins{device: "home computer"}, encrypts{"t_doug@example.org"}}},
	{"t_ellen", "", nil}, // who has no keys
	{"t_frank", "", []deed{begins{device: "home computer"}}},
	{"t_george", "", []deed{begins{device: "home computer"}, adds{"office computer", desktop}, adds{"laptop", desktop}}},
	{"t_helen", "", []deed{begins{device: "home computer"}}},
	{"t_kb", "Joe Keybaser", []deed{begins{device: "home computer"}, adds{"laptop", desktop}, proves{"twitter", "gbrltest"}}},
	{"t_mike", "", []deed{begins{device: "home computer"}}},
	{"t_rebecca", "", []deed{begins{device: "home computer"}}},
	{"t_rosetta", "", []deed{begins{device: "home computer"}}},
	{"t_tracy", "", []deed{
		begins{"work", "e5f7f7ca6b6277de4d2c45f57b767f18"}, adds{"good paper", paper},
		proves{"twitter", "tacovontaco"}, proves{"github", "tacoplusplus"}, proves{"rooter", "t_tracy"},
		hosts{"https:", "keybase.io"}, follows{"t_alice"},
	}},
}
