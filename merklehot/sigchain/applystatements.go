package sigchain

import (
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
)

// The methods here change the state they are called on; Apply gives them a clone.

// bind adds who the user is elsewhere. Where only one can be, what was said before
// stays on record and no longer counts, also when the new one is taken back.
// client: go/libkb/remote_proof_links.go:RemoteProofLinks.active
func (s *State) bind(l *Link, _ Env) error {
	if err := s.supersede(l); err != nil {
		return err
	}
	if len(s.Proofs) >= proofsMax {
		return refuse(KindTooMany, "%d proofs", len(s.Proofs))
	}
	for i := range s.Proofs {
		if s.Proofs[i].Key() == l.Service.Key() {
			s.Proofs[i].Superseded = true
		}
	}
	s.Proofs = append(s.Proofs, Proof{ServiceSection: *l.Service, Said: l.said(), Link: l.ID, Ctime: l.Ctime})
	return nil
}

func (s *State) addCurrency(l *Link, _ Env) error {
	if err := s.supersede(l); err != nil {
		return err
	}
	if len(s.Currencies) >= currenciesMax {
		return refuse(KindTooMany, "%d currency addresses", len(s.Currencies))
	}
	s.Currencies = append(s.Currencies, CurrencyAddress{CurrencySection: *l.Currency, Said: l.said()})
	return nil
}

// setWallet puts the newest wallet in the place of any other, as clients do: they
// neither let it be taken back nor look whether it was.
// client: go/libkb/id_table.go:WalletStellarChainLink.insertIntoTable
func (s *State) setWallet(l *Link, _ Env) error {
	s.Wallet = &Wallet{WalletSection: *l.Wallet, Said: l.said()}
	return nil
}

func (s *State) vouch(l *Link, _ Env) error {
	if err := s.supersede(l); err != nil {
		return err
	}
	if len(s.Vouches) >= vouchesMax {
		return refuse(KindTooMany, "vouches for %d people", len(s.Vouches))
	}
	s.Vouches = append(s.Vouches, Vouch{Expansion: *l.Expansion, Said: l.said()})
	return nil
}

func (s *State) react(l *Link, _ Env) error {
	if len(s.Reactions) >= vouchesMax {
		return refuse(KindTooMany, "%d reactions to vouches", len(s.Reactions))
	}
	s.Reactions = append(s.Reactions, Vouch{Expansion: *l.Expansion, Said: l.said()})
	return nil
}

// rename gives an active device another name.
// client: go/libkb/keyfamily.go:UpdateDevices
func (s *State) rename(l *Link, _ Env) error {
	name := NormalDeviceName(l.Device.Name)
	at := -1
	for i := range s.Devices {
		switch d := &s.Devices[i]; {
		case !s.live(d.Incarnation):
		case d.ID == l.Device.ID:
			at = i
		case NormalDeviceName(d.Name) == name:
			return refuse(KindDeviceNameUse, "device name of %s is used by %s", l.Device.ID, d.ID)
		}
	}
	if at < 0 {
		return refuse(KindDevice, "device %s is unknown", l.Device.ID)
	}
	switch d := &s.Devices[at]; {
	case d.Status != DeviceActive:
		return refuse(KindDeviceStatus, "device %s is revoked", d.ID)
	case d.Type != l.Device.Type || d.Sibkey != l.Device.KID:
		return refuse(KindDeviceOther, "device %s is a %s with the key %s", d.ID, d.Type, d.Sibkey)
	default:
		d.Name = l.Device.Name
	}
	return nil
}

func (l *Link) said() Said { return Said{Seqno: l.Seqno, SigID: l.SigID} }

// supersede takes back what a statement comes in place of.
func (s *State) supersede(l *Link) error {
	if l.Revoke == nil {
		return nil
	}
	return s.revokeSigs(l)
}

// revokeSigs takes back statements. Clients would let a person ask for any signature:
// one that adds a device's key would leave the device active without it, and what is no
// statement, or a wallet, would count as before; none of those is taken. One that adds a
// PGP key takes the key back.
func (s *State) revokeSigs(l *Link) error {
	for _, id := range l.Revoke.SigIDs {
		if !s.forget(id) && !s.revokePGPSig(id, l) {
			return refuse(KindKeyNotFound, "signature %s is not one that can be revoked", id)
		}
	}
	return nil
}

// forget drops the statement with a signature, if there is one.
func (s *State) forget(id kbsig.SigIDBase) bool {
	return dropStatement(&s.Tracks, id, func(t *Track) kbsig.SigIDBase { return t.SigID }) ||
		dropStatement(&s.Proofs, id, func(p *Proof) kbsig.SigIDBase { return p.SigID }) ||
		dropStatement(&s.Currencies, id, func(c *CurrencyAddress) kbsig.SigIDBase { return c.SigID }) ||
		dropStatement(&s.Vouches, id, func(v *Vouch) kbsig.SigIDBase { return v.SigID }) ||
		dropStatement(&s.Reactions, id, func(v *Vouch) kbsig.SigIDBase { return v.SigID })
}

func dropStatement[T any](list *[]T, id kbsig.SigIDBase, sig func(*T) kbsig.SigIDBase) bool {
	for i := range *list {
		if sig(&(*list)[i]) == id {
			if *list = slices.Delete(*list, i, i+1); len(*list) == 0 {
				*list = nil
			}
			return true
		}
	}
	return false
}
