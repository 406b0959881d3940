package rest

import "github.com/valyala/fasthttp"

// authLevel says what an endpoint wants to know of who asks.
type authLevel int

const (
	// authNone: clients send no token here, not even when logged in.
	authNone authLevel = iota
	// authOptional: clients send a token if they have one.
	authOptional
	// authRequired: refused without a token.
	authRequired
)

func (a authLevel) String() string { return [...]string{"none", "optional", "required"}[a] }

// Repeats says what happens when a request is sent again because its answer was lost.
type repeats string

const (
	reads   repeats = "reads"   // changes nothing
	natural repeats = "natural" // the second has no further effect
	keyed   repeats = "keyed"   // recognised by a name inside the request
	refused repeats = "refused" // the second is refused with a code of its own
	anew    repeats = "anew"    // makes another session, lease or report; harmless
)

// route is one endpoint. A nil handler is an endpoint that stock clients know and
// this server does not have: it answers an error and is counted by name.
type route struct {
	name    string
	method  string
	auth    authLevel
	rate    *rate
	body    int // limit in bytes; 0: bodyBytesMax
	repeats repeats
	handler func(*call) (any, error)
}

func (r *route) bodyMax() int {
	if r.body > 0 {
		return r.body
	}
	return bodyBytesMax
}

const (
	get  = fasthttp.MethodGet
	post = fasthttp.MethodPost
	del  = fasthttp.MethodDelete
)

// table is the whole public surface, by family.
func (s *Server) table() []route {
	return append(joiningRoutes(), []route{
		// Accounts and sessions: login.go, invitations.go, passphrase.go, account.go
		{"signup", post, authNone, rateSignUp, 0, refused, signUp},
		{"getsalt", get, authNone, rateLookup, 0, reads, getSalt},
		{"getsalt", post, authNone, rateLookup, 0, reads, getSalt},
		{"login", post, authNone, rateLogin, 0, anew, login},
		{"new_session", post, authRequired, rateSession, 0, anew, newSession},
		{"sesscheck", get, authRequired, rateOwn, 0, reads, sessionCheck},
		{"invitation_bypass_request", get, authNone, rateLookup, 0, reads, invitationBypass},
		{"invitation/check", get, authNone, rateLookup, 0, reads, invitationCheck},
		{"invitation_request", post, authNone, rateLookup, 0, natural, invitationRequest},
		{"user/username_available", get, authNone, rateLookup, 0, reads, usernameAvailable},
		{"user/has_random_pw", get, authRequired, rateOwn, 0, reads, hasRandomPW},
		{"passphrase/recover", get, authRequired, rateOwn, 0, reads, passphraseRecover},
		{"passphrase/replace", post, authRequired, rateSession, passphraseBodyMax, refused, passphraseReplace},
		{"passphrase/sign", post, authRequired, rateSession, passphraseBodyMax, refused, passphraseSign},
		{"user/private", get, authRequired, rateOwn, 0, reads, userPrivate},
		{"account/lockdown", get, authRequired, rateOwn, 0, reads, lockdownGet},
		{"account/lockdown", post, authRequired, ratePost, 0, natural, lockdownSet},
		{"account/location_suggest", get, authNone, rateLookup, 0, reads, locationSuggest},
		{"autoreset/enter", post, authOptional, rateLookup, 0, natural, resetEnter},
		{"autoreset/status", get, authRequired, rateOwn, 0, reads, resetStatus},
		{"autoreset/cancel", post, authRequired, ratePost, 0, refused, resetCancel},
		{"autoreset/reset", post, authRequired, rateSession, 0, refused, resetFinish},
		{"nuke", post, authRequired, rateSession, 0, refused, nuke},
		{"delete", post, authRequired, rateSession, 0, refused, deleteAccount},
		{"selfcheck", post, authRequired, rateOwn, 0, reads, selfCheck},
		{"user/get_blocks", get, authRequired, rateOwn, 0, reads, blocksGet},

		// Addresses and those who have them: emails.go, phones.go, contacts.go, recovery.go, invitefriends.go
		{"email/add", post, authRequired, ratePost, 0, refused, emailAdd},
		{"email/delete", post, authRequired, ratePost, 0, refused, emailDelete},
		{"email/set-primary", post, authRequired, ratePost, 0, natural, emailSetPrimary},
		{"email/send-verify", post, authRequired, ratePost, 0, anew, emailSendVerify},
		{"email/set-visibility", post, authRequired, ratePost, 0, natural, emailSetVisibility},
		{"account/email_update_signed", post, authRequired, ratePost, 0, refused, emailUpdateSigned},
		{"user/phone_numbers", get, authRequired, rateOwn, 0, reads, phoneNumbers},
		{"user/phone_numbers", post, authRequired, ratePost, 0, anew, phoneAdd},
		{"user/phone_numbers", del, authRequired, ratePost, 0, refused, phoneDelete},
		{"user/phone_number_verify", post, authRequired, ratePost, 0, refused, phoneVerify},
		{"user/phone_number_visibility", post, authRequired, ratePost, 0, natural, phoneVisibility},
		{"email/search", get, authRequired, rateSearch, 0, reads, emailSearch},
		{"user/phone_numbers_search", get, authRequired, rateSearch, 0, reads, phoneSearch},
		{"contacts/lookup", post, authRequired, rateSearch, contactsBodyMax, reads, contactsLookup},
		{"contacts/resolved", post, authRequired, ratePost, contactsBodyMax, anew, contactsResolved},
		{"account/contact_settings", get, authRequired, rateOwn, 0, reads, contactSettings},
		{"account/contact_settings", post, authRequired, ratePost, 0, natural, setContactSettings},
		{"account/recover_username", post, authNone, rateRemind, 0, natural, recoverUsername},
		{"send-reset-pw", post, authNone, rateRemind, 0, natural, sendResetPassword},
		{"send_invitation", post, authRequired, ratePost, 0, anew, sendInvitation},
		{"invite_friends/invite", post, authRequired, ratePost, 0, natural, inviteFriends},

		// Devices: devices.go, pushtoken.go, kex.go
		{"device/update", post, authRequired, ratePost, 0, natural, deviceUpdate},
		{"device/update_lks_client_half", post, authRequired, ratePost, 0, natural, updateClientHalf},
		{"user/bug_3964_repair", post, authRequired, ratePost, 0, natural, repairReport},
		{"device/push_token", post, authRequired, ratePost, 0, natural, pushTokenSave},
		{"device/push_token", del, authRequired, ratePost, 0, natural, pushTokenDrop},
		{"device/check_name", get, authNone, rateRead, 0, reads, deviceCheckName},
		{"device/clone_detection_token", post, authRequired, ratePost, 0, keyed, cloneToken},
		{"device/error", post, authNone, rateReport, 0, natural, deviceError},
		{"device/for_users", post, authNone, rateLookup, 0, reads, deviceForUsers},
		{"kex2/send", post, authNone, rateKex, 2 * kexMessageBytesMax, keyed, kexSend},
		{"kex2/receive", get, authNone, rateKex, 0, reads, kexReceive},

		// Keys: keys.go, ephemeral.go
		{"key/multi", post, authRequired, ratePost, keyMultiBodyMax, natural, keyMulti},
		{"key/fetch_private", get, authRequired, rateOwn, 0, reads, fetchPrivate},
		{"key/fetch_per_user_key_secrets", get, authRequired, rateOwn, 0, reads, fetchPUKSecrets},
		{"key/add", post, authRequired, ratePost, keyAddBodyMax, natural, keyAdd},
		{"key/revoke", post, authRequired, ratePost, 0, refused, keyRevoke},
		{"key/special", get, authNone, rateRead, 0, reads, keySpecial},
		{"key/owner/device", get, authNone, rateRead, 0, reads, keyOwnerDevice},
		{"key/basics", get, authNone, rateRead, 0, reads, keyBasics},
		{"downgrade/key", post, authRequired, ratePost, 0, anew, downgradeKey},
		{"downgrade/sig", post, authRequired, ratePost, 0, anew, downgradeSig},
		{"downgrade/team", post, authRequired, ratePost, 0, anew, downgradeTeam},
		{"downgrade/cancel", post, authRequired, ratePost, 0, natural, downgradeCancel},
		{"user/device_ek", post, authRequired, ratePost, 0, natural, postDeviceEK},
		{"user/device_eks", get, authRequired, rateOwn, 0, reads, deviceEKs},
		{"user/user_ek", post, authRequired, ratePost, keyMultiBodyMax, natural, postUserEK},
		{"user/user_ek", get, authRequired, rateOwn, 0, reads, userEK},
		{"user/get_user_ek_batch", post, authRequired, rateOwn, 0, reads, userEKBatch},
		{"user/user_ek_box", get, authRequired, rateOwn, 0, reads, userEKBox},

		// Chains: sigs.go, proofs.go, wot.go
		{"sig/get", get, authOptional, rateRead, 0, reads, sigGet},
		{"sig/get_high", get, authOptional, rateRead, 0, reads, sigGetHigh},
		{"sig/hints", get, authNone, rateRead, 0, reads, sigHints},
		{"sig/posted", post, authRequired, rateCheck, 0, natural, sigPosted},
		{"remotes/check", get, authRequired, rateCheck, 0, reads, remotesCheck},
		{"sig/multi", post, authRequired, ratePost, sigMultiBodyMax, natural, sigMulti},
		{"sig/post", post, authRequired, ratePost, 0, natural, sigPost},
		{"sig/revoke", post, authRequired, ratePost, 0, natural, sigRevoke},
		{"follow", post, authRequired, ratePost, 0, natural, follow},
		{"wot/get", get, authRequired, rateRead, 0, reads, wotGet},

		// Merkle tree: merkle.go
		{"merkle/root", get, authNone, rateRead, 0, reads, merkleRoot},
		{"merkle/path", get, authOptional, ratePath, 0, reads, merklePath},
		{"merkle/first_root_with_skips", get, authNone, rateRead, 0, reads, firstRoot},
		{"merkle/first_root_with_hidden", get, authNone, rateRead, 0, reads, firstRootWithHidden},
		{"team/supports_hidden_chain", get, authRequired, rateRead, 0, reads, supportsHidden},
		{"merkle/pvl", get, authNone, rateRead, 0, reads, merkleKit},
		{"merkle/proof_params", get, authNone, rateRead, 0, reads, merkleKit},
		{"merkle/external_urls", get, authNone, rateRead, 0, reads, merkleKit},

		// People: users.go, profiles.go, search.go, blocks.go, avatars.go, bots.go, logdump.go
		{"user/lookup", get, authNone, rateRead, 0, reads, userLookup},
		{"user/names", post, authNone, rateLookup, 0, reads, userNames},
		{"user/service_maps", post, authNone, rateLookup, 0, reads, userServiceMaps},
		{"user/card", get, authOptional, rateRead, 0, reads, userCard},
		{"user/list_followers_for_display", get, authNone, rateRead, 0, reads, listFollowers},
		{"user/keys", get, authNone, rateRead, 0, reads, userPublicKeys},
		{"image/username_pic_lookups", get, authOptional, rateRead, 0, reads, userPictures},
		{"image/team_avatar_lookups", get, authOptional, rateRead, 0, reads, teamPictures},
		{"image/upload_user_avatar", post, authRequired, ratePost, uploadBodyMax, natural, pictureUpload},
		{"image/upload_team_avatar", post, authRequired, ratePost, uploadBodyMax, natural, teamPictureUpload},
		{"image/set_preference", post, authRequired, ratePost, 0, natural, picturePreference},
		{"profile-edit", post, authRequired, ratePost, 0, natural, profileEdit},
		{"user/user_search", get, authOptional, rateLookup, 0, reads, userSearch},
		{"user/block", post, authRequired, ratePost, 0, natural, blockUser},
		{"user/set_blocks", post, authRequired, ratePost, 0, natural, blocksSet},
		{"featured_bots/featured", get, authNone, rateRead, 0, reads, featuredBots},
		{"featured_bots/search", get, authNone, rateRead, 0, reads, searchBots},
		{"bot/token/list", get, authRequired, rateOwn, 0, reads, botTokens},
		{"bot/token/create", post, authRequired, ratePost, 0, anew, botTokenCreate},
		{"bot/token/delete", post, authRequired, ratePost, 0, refused, botTokenDelete},
		{"report/conversation", post, authRequired, ratePost, complaintBytesMax, anew, reportConversation},
		{"logdump/send", post, authOptional, rateReport, logsBodyMax, anew, logsSend},

		// What a logged-in client asks by itself: home.go, kbfs.go, stellar.go, teams.go
		{"ping", get, authNone, rateRead, 0, reads, ping},
		{"ping", post, authNone, rateRead, 0, reads, ping},
		{"home", get, authRequired, rateOwn, 0, natural, homePage},
		{"home/poll", get, authRequired, rateOwn, 0, natural, homePoll},
		{"home/visit", post, authRequired, ratePost, 0, natural, homeVisit},
		{"home/todo/skip", post, authRequired, ratePost, 0, natural, homeSkip},
		{"user/features", get, authRequired, rateOwn, 0, reads, userFeatures},
		{"pkg/check", get, authNone, rateRead, 0, reads, packageCheck},
		{"invite_friends/num_invites", get, authNone, rateRead, 0, reads, inviteCounts},
		{"kbfs/upgrade", get, authRequired, rateOwn, 0, reads, kbfsUpgrade},
		{"kbfs/unkeyed_tlfs_from_pair", get, authRequired, rateOwn, 0, reads, kbfsUnkeyed},
		{"kbfs/problem_sets", post, authRequired, ratePost, 0, natural, kbfsProblemSets},
		{"kbfs/favorite/list", get, authRequired, rateOwn, 0, reads, favoriteList},
		{"kbfs/favorite/add", post, authRequired, ratePost, 0, natural, favoriteAdd},
		{"kbfs/git/team/get", get, authRequired, rateOwn, 0, reads, gitRepos},
		{"stellar/shouldcreate", get, authRequired, rateOwn, 0, reads, stellarShouldCreate},
		{"stellar/disclaimer", get, authRequired, rateOwn, 0, reads, stellarDisclaimer},
		{"stellar/disclaimer", post, authRequired, ratePost, 0, natural, stellarAccept},
		{"stellar/acctbundle", get, authRequired, rateOwn, 0, reads, walletGet},
		{"stellar/acctbundle", post, authRequired, ratePost, keyMultiBodyMax, refused, walletPut},
		{"stellar/accountcurrency", get, authRequired, rateOwn, 0, reads, stellarCurrency},
		{"stellar/accountcurrency", post, authRequired, ratePost, 0, natural, stellarSetCurrency},
		{"stellar/lookup", get, authOptional, rateLookup, 0, reads, stellarLookup},
		{"stellar/timebounds", get, authRequired, rateOwn, 0, reads, stellarTimebounds},
		{"stellar/inflation_destinations", get, authRequired, rateOwn, 0, reads, stellarInflation},
		{"stellar/config", get, authNone, rateRead, 0, reads, stellarConfig},
		{"stellar/all_details_plus_payments", get, authRequired, rateOwn, 0, reads, stellarAccounts},

		// Teams: teamget.go, teams.go, teamshow.go, teamkeys.go, kvstore.go
		{"team/get", get, authOptional, rateRead, 0, reads, teamGet},
		{"team/for_user", get, authRequired, rateOwn, 0, reads, teamsForUser},
		{"team/teammates_for_user", get, authRequired, rateOwn, 0, reads, teammatesForUser},
		{"team/list_profile_add", get, authRequired, rateOwn, 0, reads, listProfileAdd},
		{"team/id", get, authRequired, rateOwn, 0, reads, teamOfTLF},
		{"team/tlfid", get, authRequired, rateOwn, 0, reads, tlfOfTeam},
		{"team/exists", get, authRequired, rateOwn, 0, reads, teamExists},
		{"team/mentiondesc", get, authRequired, rateOwn, 0, reads, mentionDesc},
		{"team/team_showcase", post, authRequired, ratePost, 0, natural, teamShowcaseSet},
		{"team/member_showcase", get, authRequired, rateOwn, 0, reads, memberShowcase},
		{"team/member_showcase", post, authRequired, ratePost, 0, natural, memberShowcaseSet},
		{"teamsearch/refresh", get, authRequired, rateOwn, 0, reads, teamsearchRefresh},
		{"teamsearch/search", get, authRequired, rateOwn, 0, reads, teamsearchSearch},
		{"team/storage", get, authRequired, rateOwn, 0, reads, storeGet},
		{"team/storage", post, authRequired, ratePost, 0, refused, storePut},
		{"team/storage", del, authRequired, ratePost, 0, refused, storeDelete},
		{"team/storage/list", get, authRequired, rateOwn, 0, reads, storeList},
		{"team/team_ek", get, authRequired, rateOwn, 0, reads, teamEK},
		{"team/team_ek", post, authRequired, ratePost, teamEKBodyMax, natural, postTeamEK},
		{"team/team_ek_box", get, authRequired, rateOwn, 0, reads, teamEKBox},
		{"team/member_eks", get, authRequired, rateOwn, 0, reads, memberEKs},
		{"kbfs/pseudonym/get", post, authRequired, rateOwn, 0, reads, folderPseudonyms},
		{"team/key_pseudonym", get, authRequired, rateOwn, 0, reads, pseudonyms},
		{"team/key_pseudonym", post, authRequired, ratePost, 0, natural, postPseudonyms},
		{"teambot/key", get, authRequired, rateOwn, 0, reads, botKey},
		{"teambot/key", post, authRequired, ratePost, 0, refused, postBotKey},
		{"teambot/box", get, authRequired, rateOwn, 0, reads, botBox},
		{"teambot/key_needed", post, authRequired, ratePost, 0, anew, botKeyNeeded},
		{"kbfs/unpinned", get, authRequired, rateOwn, 0, reads, kbfsUnpinned},
	}...)
}

// absent are the endpoints that stock clients call and this server does not have yet.
var absent = []string{
	"kbfs/git/team/delete",
	"kbfs/git/team/put",
	"kbfs/git/team/settings",
	"kbfs/pseudonym/put",
	"pubsub/poll",
	"sig/post_auth",
	"stellar/accountseqno",
	"stellar/acquireautoclaimlock",
	"stellar/airdrop/details",
	"stellar/airdrop/register",
	"stellar/airdrop/status_check",
	"stellar/balances",
	"stellar/cancelrequest",
	"stellar/change_trustline",
	"stellar/details",
	"stellar/details_plus_payments",
	"stellar/findpaymentpath",
	"stellar/fuzzy_asset_search",
	"stellar/list_popular_assets",
	"stellar/markasread",
	"stellar/network_options",
	"stellar/nextautoclaim",
	"stellar/paymentdetail",
	"stellar/pendingpayments",
	"stellar/postanytransaction",
	"stellar/recentpayments",
	"stellar/releaseautoclaimlock",
	"stellar/requestdetails",
	"stellar/setinflation",
	"stellar/submitmultipayment",
	"stellar/submitpathpayment",
	"stellar/submitpayment",
	"stellar/submitrelayclaim",
	"stellar/submitrelaypayment",
	"stellar/submitrequest",
	"stellar/ticker",
}

// methods holds an endpoint's routes by method.
type methods map[string]*route

// index builds the look-up of the table; a nil entry is a known absent endpoint, which
// those of devel mode are in any other.
func index(table []route, devel bool) map[string]methods {
	m := make(map[string]methods, len(table)+len(absent))
	for _, name := range absent {
		m[name] = nil
	}
	for _, r := range develTable() {
		if devel {
			table = append(table, r)
		} else {
			m[r.name] = nil
		}
	}
	for i := range table {
		r := &table[i]
		if m[r.name] == nil {
			m[r.name] = make(methods, 1)
		}
		m[r.name][r.method] = r
	}
	return m
}
