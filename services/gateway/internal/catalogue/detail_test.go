package catalogue

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestALinkThatIsHalfOverIsAnotherOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		link := "https://s3/b/k?X-Amz-Signature=1"
		d := Detail{Token: Token{BGVoiceURL: &link}, BGVoice: &link}
		made, mark := time.Now(), d.mark(time.Now())
		for d.mark(time.Now()) == mark {
			<-time.After(time.Second)
		}
		if age := time.Since(made); age > linkValid/2 {
			t.Errorf("it was the same for %v", age)
		}
	})
}

func TestATokenThatShowsNothingElseHasNoMark(t *testing.T) {
	t.Parallel()
	if mark := (Detail{}).mark(time.Now()); mark != "" {
		t.Errorf("the mark is %s", mark)
	}
}
