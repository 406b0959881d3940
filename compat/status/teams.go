package status

// Status codes about teams. client: go/protocol/keybase1/constants.go:StatusCode
const (
	TeamBadMembership           = 2604
	TeamSelfNotOwner            = 2607
	TeamNotFound                = 2614
	TeamExists                  = 2619
	TeamReadError               = 2623
	TeamWritePermDenied         = 2625
	TeamBadGeneration           = 2634
	NoOp                        = 2638
	TeamInviteBadCancel         = 2645
	TeamInviteBadToken          = 2646
	TeamInviteCompletionMissing = 2648
	TeamBadNameReserved         = 2650
	TeamTarDuplicate            = 2663
	TeamTarNotFound             = 2664
	TeamMemberExists            = 2665
	TeamNotReleased             = 2666
	TeamPermanentlyLeft         = 2667
	TeamNeedRootID              = 2668
	TeamHasLiveChildren         = 2669
	TeamDeleteError             = 2670
	TeamBadRootTeam             = 2671
	TeamNameConflictsWithUser   = 2672
	TeamDeleteNoUpPointer       = 2673
	TeamNeedOwner               = 2674
	TeamNoOwnerAllowed          = 2675
	TeamImplicitNoNonSbs        = 2676
	TeamImplicitBadHash         = 2677
	TeamImplicitBadName         = 2678
	TeamImplicitClash           = 2679
	TeamImplicitDuplicate       = 2680
	TeamImplicitBadOp           = 2681
	TeamImplicitBadRole         = 2682
	TeamImplicitNotFound        = 2683
	TeamBadAdminSeqnoType       = 2684
	TeamImplicitBadAdd          = 2685
	TeamImplicitBadRemove       = 2686
	TeamInviteTokenReused       = 2696
	TeamKeyMaskNotFound         = 2697
	TeamBanned                  = 2702
	TeamInvalidBan              = 2703
	TeamShowcasePermDenied      = 2711
	TeamProvisionalCanKey       = 2721
	TeamProvisionalCannotKey    = 2722
	TeamFTLOutdated             = 2736
	TeamStorageWrongRevision    = 2760
	TeamStorageBadGeneration    = 2761
	TeamStorageNotFound         = 2762
	TeamContactSettingsBlock    = 2763
	TeamSeitanInviteNeedPUK     = 2770
	TeambotKeyExists            = 3800
	TeambotKeyOldBoxed          = 3801
	TeambotKeyBadGeneration     = 3802
	NoUpdate                    = 723
)
