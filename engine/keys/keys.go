// Package keys is the keyspace: the only place where key bytes are built and read.
//
// A key is one prefix byte and fixed-width or length-led parts, so that the byte
// order of keys is the order of the parts. Integers are big endian; a version that
// is looked up as "newest not after v" is stored inverted, so that the newest
// comes first. IDs are raw bytes, not hex. A prefix that is no letter is shown as 0x05.
// The families of teams have a prefix of two bytes, of which the first is theirs
// together.
//
//	prefix  parts                           value                               owner
//	J       kind, name                      job that waits                      engine/jobs
//	H       kind, time, name                place of a job among the due        engine/jobs
//	M       name                            store metadata                      engine/store
//	A       uid                             account record                      engine/accounts
//	N       name                            uid                                 engine/accounts
//	E       mail address or number          uid that anybody finds by it        engine/accounts
//	C       uid                             ways to reach a user                engine/accounts
//	m       sha256(mail address)            who names it as theirs              engine/accounts
//	n       telephone number                who has verified it                 engine/accounts
//	D       uid, device                     what the server holds of a device   engine/accounts
//	d       uid, device                     signing kid of an active device     engine/accounts
//	S       sha256(session)                 password session                    engine/accounts
//	Y       uid, sha256(session)            nothing: it is the user's session   engine/accounts
//	K       uid                             lockdown mode and its history       engine/accounts
//	T       nist hash                       accepted NIST                       engine/accounts
//	I       sha256(code)                    invitation to sign up               engine/accounts
//	c       uid, seqno                      chain link as received              merklehot/sigchain
//	s       uid                             chain state                         merklehot/sigchain
//	k       kid                             owner of a key                      merklehot/sigchain
//	g       sig id base                     uid, seqno                          merklehot/sigchain
//	f       uid, other uid                  follow                              merklehot/directory
//	F       uid, other uid                  follower                            merklehot/directory
//	R       uid, reset seqno                reset chain entry as hashed         merklehot/identity
//	W       uid                             reset that waits                    engine/autoreset
//	L       uid, lease id                   downgrade lease                     merklehot/identity
//	Z       uid, side, other uid            vouch                               merklehot/vouches
//	P       fingerprint, kid, uid           PGP key of a user, or a subkey      merklehot/directory
//	v       uid, kid                        synced secret key bundle            merklehot/keyboxes
//	a       uid, folder type, name          favourite folder                    kbfsblocks/tlf
//	b       uid, generation, kid            per-user-key box                    merklehot/keyboxes
//	p       uid, generation                 per-user-key prev                   merklehot/keyboxes
//	x       uid, device                     device ephemeral key                merklehot/keyboxes
//	y       uid, generation                 user ephemeral key                  merklehot/keyboxes
//	z       uid, generation, device         user ephemeral key box              merklehot/keyboxes
//	w       uid, sig id base                remote proof                        merklehot/proofs
//	O       sha256(name), uid               who has proven a name               merklehot/proofs
//	U       half of sha512(kit)             kit that a root names               merklehot/proofs
//	7       sha256(name), id                post in a network for tests         merklehot/rooter
//	q       uid, message id                 in-band message                     chatlog/gregor
//	0x05    uid                             in-band messages in all             chatlog/gregor
//	0x06    uid, order, group, ctime        place of an in-band message         chatlog/gregor
//	Q       uid, device                     token that wakes a device           chatlog/push
//	G       number                          entry of the outbox                 engine/events
//	V       consumer                        place in the outbox                 engine/events
//	i       owner, picture, size            picture in one size                 engine/people
//	u       uid                             home page                           engine/people
//	B       uid, other uid                  block                               engine/people
//	t       sha256(token)                   token to sign up bots               engine/accounts
//	j       uid                             encrypted wallet                    merklehot/keyboxes
//	X       service, word, uid              search entry                        engine/people
//	0x01    number                          announcement to everybody           engine/people
//	r       seqno                           signed root                         merklehot/roots
//	h       hash meta                       seqno                               merklehot/roots
//	o       seqno                           what changed in a root              merklehot/roots
//	l       tree, id, ^seqno                leaf value                          merklehot/tree
//	e       tree, depth, prefix, ^seqno     children of a node that changed     merklehot/tree
//	0h      team, seqno                     hidden link as received             merklehot/hidden
//	0H      team                            hidden chain state                  merklehot/hidden
//	0f      team, ratchet                   what explains a ratchet             merklehot/hidden
//	0B      team, ^seqno                    hidden tail in the blind tree       merklehot/blindtree
//	0D      depth, prefix, ^seqno           page of the blind tree              merklehot/blindtree
//	0R      seqno                           version of the blind tree           merklehot/blindtree
//	0c      team, seqno                     visible link as received             merklehot/teams
//	0s      team                            head of what its chain means        merklehot/teams
//	0m      team, row                       row of what its chain means         merklehot/teams
//	0n      parent, part of a name          subteam of that name                merklehot/teams
//	0t      uid, team                       what a user is in a team            merklehot/teams
//	0b      team, uid                       newest box of a team's key          merklehot/keyboxes
//	0v      team, generation                team-key prev                       merklehot/keyboxes
//	0k      team, generation                masks of team keys                  merklehot/keyboxes
//	0r      uid                             version of a user's map of roles    merklehot/teams
//	0l      uid, team                       lease over a member                 merklehot/teams
//	0u      team, seqno                     adopted keys of a folder            merklehot/teams
//	0g      team                            facts of a team beside its chain    merklehot/teams
//	0i      sha256(display name)            implicit teams that have the name   merklehot/implicit
//	0I      team                            display name of an implicit team    merklehot/implicit
//	0j      sha256(clue), team, invite      what leads to an invite             merklehot/joining
//	0q      team, uid                       request, ban or farewell            merklehot/joining
//	0w      uid, team                       nothing: there is a 0q or 0a        merklehot/joining
//	0a      team, uid, invite               acceptance of an invite             merklehot/joining
//	0d      team                            how it treats those who ask         merklehot/joining
//	0J      team, kind                      something that members should do    merklehot/chores
//	0e      team, generation                team ephemeral key                  merklehot/keyboxes
//	0E      team, generation, uid           team ephemeral key box              merklehot/keyboxes
//	0y      team, bot, kind, generation     key that members make for a bot     merklehot/keyboxes
//	0P      pseudonym                       what a pseudonym stands for         merklehot/keyboxes
//	0K      team, namespace, name           entry of a key-value store          merklehot/kvstore
//	0S      team                            what a team shows                   merklehot/showcase
//	0z      uid, team                       nothing: the user shows the team    merklehot/showcase
//	0A      team                            nothing: anybody finds the team     merklehot/showcase
//	0Z      folder                          team that a folder belongs to       merklehot/teams
//
// The test walks this table: prefixes are unique, constructors and decoders are
// inverse, and order is as said.
package keys
