package client

import (
	"errors"
	"fmt"
)

// Rule names one promise of a server that a client can check.
type Rule string

// The rules. Each has at least one lie in the tables of the tests.
const (
	// Replies.
	RuleReply Rule = "reply" // an answer has the shape the protocol gives it

	// Roots.
	RuleRootPacket    Rule = "root-packet"    // a canonical signature packet over the payload
	RuleRootSignature Rule = "root-signature" // signed by a known root key
	RuleRootPayload   Rule = "root-payload"   // the payload's own fields
	RuleRollback      Rule = "rollback"       // roots never go back
	RuleFork          Rule = "fork"           // one seqno, one hash, for ever
	RulePrev          Rule = "root-prev"      // prev is the hash of the preceding payload
	RuleSkipTable     Rule = "skip-table"     // exactly seqno-1, -2, -4, ...
	RuleSkipPath      Rule = "skip-path"      // the right roots in the right order
	RuleSkipHash      Rule = "skip-hash"      // each hop's hash is in the newer root's table
	RuleRootTime      Rule = "root-time"      // ctimes do not run back

	// Paths and leaves.
	RulePathRoot    Rule = "path-root"    // rooted in exactly the root that was asked for
	RuleNodeHash    Rule = "node-hash"    // a node hashes to what its parent says
	RuleNode        Rule = "node"         // a node's shape
	RulePrefix      Rule = "prefix"       // prefixes spell the id, from its start, and are unambiguous
	RuleTruncated   Rule = "truncated"    // a path ends in a leaf or in a proven absence
	RuleLeaf        Rule = "leaf"         // a leaf's shape
	RuleUsername    Rule = "username"     // the name belongs to the id
	RuleResetChain  Rule = "reset-chain"  // the reset chain hashes to the leaf
	RuleUpdateLoop  Rule = "update-loop"  // at most five refreshes of the root
	RuleLeafHistory Rule = "leaf-history" // a user's leaf only moves forward

	// Kits.
	RuleKit Rule = "kit" // a kit hashes to what the root says

	// Users and chains.
	RuleUserObject   Rule = "user-object"   // user/lookup agrees with the tree
	RuleBundle       Rule = "bundle"        // every key ever used is in all_bundles
	RuleLinkShape    Rule = "link-shape"    // one of the known entry shapes
	RuleQuoting      Rule = "quoting"       // payload_json is a Go string literal
	RuleLinkJSON     Rule = "link-json"     // the signed JSON and its fields
	RuleLinkOwner    Rule = "link-owner"    // name, id and host in every link
	RuleLinkSig      Rule = "link-sig"      // every signature
	RuleHighSkip     Rule = "high-skip"     // high skips, where present, name the last high link
	RuleOuter        Rule = "outer"         // outer fields equal inner fields
	RuleLinkMerkle   Rule = "link-merkle"   // the root a link quotes was published
	RulePrevLink     Rule = "prev-link"     // prev names the preceding link
	RuleSeqno        Rule = "seqno"         // seqnos without gaps
	RuleTail         Rule = "tail"          // the chain reaches the leaf's tail
	RuleStub         Rule = "stub"          // stubs only where they are allowed
	RuleChainHistory Rule = "chain-history" // a link seen once never changes
	RuleReverseSig   Rule = "reverse-sig"   // the new key signed too
	RuleEldest       Rule = "eldest"        // incarnations begin with an eldest link and match the leaf
	RuleSigner       Rule = "signer"        // signed by a key that is active at that point
	RuleDelegation   Rule = "delegation"    // delegated keys are of the right kind and new
	RulePUK          Rule = "puk"           // per-user-key generations count 1, 2, 3, ...
	RuleRevoke       Rule = "revoke"        // revocations name active things

	// Teams.
	RuleTeamLink  Rule = "team-link"  // a link of a team may stand where it stands
	RuleTeamRole  Rule = "team-role"  // who signs has the role that the link wants
	RuleTeamOrder Rule = "team-order" // keys and roles were there before a link and gone only after it
	RuleTeamName  Rule = "team-name"  // parent and subteam agree on the name
	RuleTeamKey   Rule = "team-key"   // generations, boxes, prevs and masks fit the chain

	// After a post.
	RulePosted Rule = "posted" // an acknowledged link is in the tree

	// Boxes and ephemeral keys.
	RuleBox Rule = "box" // a box opens to the key the chain announces
	RuleEK  Rule = "ek"  // an ephemeral key statement is signed by the right key
)

// Violation says that a server broke a rule: it lied, or it published what no
// client may accept.
type Violation struct {
	Rule    Rule
	Subject string // what was looked at, for instance "root 17" or "link 3 of alice"
	Detail  string
}

func (v *Violation) Error() string {
	return fmt.Sprintf("%s: %s (rule %s)", v.Subject, v.Detail, v.Rule)
}

// ViolatedRule is the rule that err reports as broken, or "".
func ViolatedRule(err error) Rule {
	var v *Violation
	if errors.As(err, &v) {
		return v.Rule
	}
	return ""
}

func violated(rule Rule, subject, format string, args ...any) error {
	return &Violation{Rule: rule, Subject: subject, Detail: fmt.Sprintf(format, args...)}
}

// under gives an error the rule and subject of the place that met it, unless it
// already names a rule.
func under(rule Rule, subject string, err error) error {
	if err == nil || ViolatedRule(err) != "" {
		return err
	}
	return &Violation{Rule: rule, Subject: subject, Detail: err.Error()}
}
