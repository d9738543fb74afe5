package catalogue

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTheDigestChangesWhenHalfTheTimeOfALinkIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		link := "https://s3/b/k?X-Amz-Signature=1"
		d := Detail{Token: Token{BGVoiceURL: &link}, BGVoice: &link}
		made, digest := time.Now(), d.digest(time.Now())
		for d.digest(time.Now()) == digest {
			<-time.After(time.Second)
		}
		if age := time.Since(made); age > linkValid/2 {
			t.Errorf("it was the same for %v", age)
		}
	})
}

func TestATokenThatShowsNothingElseHasNoDigest(t *testing.T) {
	t.Parallel()
	if digest := (Detail{}).digest(time.Now()); digest != "" {
		t.Errorf("the digest is %s", digest)
	}
}
