package accounts

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

const (
	// botTokensMax bounds the tokens that one user has at a time.
	botTokensMax = 100
	// botTokenBytes is the length of a token before base64: 32 characters, which is
	// what clients take. client: go/protocol/keybase1/extras.go:NewBotToken
	botTokenBytes = 24
)

// Why there is no token.
var (
	ErrNoBotToken       = errors.New("no such bot token")
	ErrTooManyBotTokens = fmt.Errorf("more than %d bot tokens", botTokensMax)
)

// BotToken lets its owner sign up bots. It is kept as it is, because clients list their
// tokens.
type BotToken struct {
	Token string `codec:"t"`
	CTime int64  `codec:"c"` // milliseconds
}

func botTokenKey(token string) []byte {
	return keys.BotToken(sha256.Sum256([]byte("bot token " + token)))
}

// NewBotToken makes a token for u. rand must be cryptographic.
func NewBotToken(tx *store.Tx, rand io.Reader, u kbsig.UID) (string, error) {
	var raw [botTokenBytes]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return "", fmt.Errorf("make a bot token: %w", err)
	}
	a, err := Get(tx, u)
	if err != nil {
		return "", err
	}
	if len(a.BotTokens) >= botTokensMax {
		return "", ErrTooManyBotTokens
	}
	t := BotToken{base64.URLEncoding.EncodeToString(raw[:]), tx.Now().UnixMilli()}
	a.BotTokens = append(a.BotTokens, t)
	Put(tx, a)
	store.Save(tx, botTokenKey(t.Token), u)
	return t.Token, nil
}

// DropBotToken ends a token of u's; bots that were signed up with it stay.
func DropBotToken(tx *store.Tx, u kbsig.UID, token string) error {
	a, err := Get(tx, u)
	if err != nil {
		return err
	}
	n := len(a.BotTokens)
	a.BotTokens = slices.DeleteFunc(a.BotTokens, func(t BotToken) bool { return t.Token == token })
	if len(a.BotTokens) == n {
		return ErrNoBotToken
	}
	Put(tx, a)
	tx.Delete(botTokenKey(token))
	return nil
}

// BotTokenOwner is whose token it is; the error is ErrNoBotToken if nobody's.
func BotTokenOwner(r store.Reader, token string) (kbsig.UID, error) {
	u, err := store.Load[kbsig.UID](r, botTokenKey(token))
	if errors.Is(err, store.ErrNotFound) {
		return u, ErrNoBotToken
	}
	if err != nil {
		return u, fmt.Errorf("load a bot token: %w", err)
	}
	a, err := Get(r, u)
	if err != nil {
		return u, err
	}
	if a.Status == StatusDeleted {
		return u, ErrNoBotToken
	}
	return u, nil
}
