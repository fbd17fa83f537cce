package redisstore

import (
	_ "embed"
	"fmt"

	"github.com/wardstream/wardstream/internal/redislua"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/wire"
)

//go:embed scripts/put.lua
var putSource string

//go:embed scripts/copy.lua
var copySource string

//go:embed scripts/unblock.lua
var unblockSource string

//go:embed scripts/member.lua
var memberSource string

//go:embed scripts/swap.lua
var swapSource string

//go:embed scripts/discard.lua
var discardSource string

//go:embed scripts/announce.lua
var announceSource string

// scripts are the scripts of a block store.
type scripts struct{ put, copyOf, unblock, member, swap, discard, announce *redislua.Script }

func blockScripts() scripts {
	script := func(source string) *redislua.Script {
		return redislua.New(source, "$BLOCK_HEAD", wire.BlockHead, "$MEMBER_END", wire.MemberEnd)
	}
	return scripts{
		put: script(putSource), copyOf: script(copySource), unblock: script(unblockSource), member: script(memberSource),
		swap: script(swapSource), discard: script(discardSource), announce: script(announceSource),
	}
}

// keyError returns the error of one call. A key of a foreign type is ErrUnstorable.
func keyError(err error) error {
	if redislua.WrongType(err) {
		return fmt.Errorf("%w: %w", store.ErrUnstorable, err)
	}
	return err
}
