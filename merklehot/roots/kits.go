package roots

import (
	"encoding/hex"

	"github.com/keystead/keystead/engine/hash"
)

// Kit is a document whose hash stands in every root, so that all clients use the
// same one. client: go/merklestore/store.go:MerkleStoreImpl
type Kit struct {
	JSON string
	Hash string // SHA-512 of JSON, hex
}

// NewKit names a document by its hash.
func NewKit(json string) Kit {
	h := hash.Sum512([]byte(json))
	return Kit{json, hex.EncodeToString(h[:])}
}

// Kits are the documents that clients ask for.
type Kits struct {
	PVL          Kit // merkle/pvl: how remote proofs are verified
	ProofParams  Kit // merkle/proof_params: the services that can be proven
	ExternalURLs Kit // merkle/external_urls: links that the app shows
}

// All lists the documents.
func (k *Kits) All() []Kit { return []Kit{k.PVL, k.ProofParams, k.ExternalURLs} }

// DefaultKits are empty: no proofs of other services, no links. Every kit has an
// entry for version 1, the only one that clients know.
// client: go/merklestore/store.go:GetLatestEntryWithKnown
func DefaultKits() Kits {
	return Kits{
		PVL:          NewKit(`{"kit_version":1,"ctime":1,"tab":{"1":{"pvl_version":1,"revision":1,"services":{}}}}`),
		ProofParams:  NewKit(`{"kit_version":1,"ctime":1,"tab":{"1":{"services":[],"service_display_configs":[]}}}`),
		ExternalURLs: NewKit(`{"kit_version":1,"ctime":1,"tab":{"1":{}}}`),
	}
}
