/*
 * The migration protocol of docs/architecture.md, for spin(1): one VM, three nodes, one or two moves
 * between the first two, and FAULTS faults at any moment. What the migrator and the agents decide is
 * not restated here: the tables of core/ are linked in and asked.
 *
 * Every step is taken only when it changes something, and faults are counted, so that a cycle would
 * be an endless run: with -DFAIR spin looks for one, and finding none says that every fair run ends;
 * the monitor judges where it ends.
 *
 * Seeded faults, each of which must be found: -DNO_PROOF, -DRESUME_RECEIVING, -DNO_SENDER,
 * -DNO_FENCE, -DFINISH_RESUMES, -DNO_FINALIZER, -DTRUST_EVENTS, -DKILL_BY_NAME.
 */
#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#define N      3
#define NOBODY 3

/* a guest on a node: tables.h */
#define NONE      0
#define RUNS      1
#define SWITCHING 2 /* paused by libvirt between the copy's end and its verdict */
#define RECEIVING 3
#define RECEIVED  4

/* libvirt's call */
#define IDLE    0
#define COPY    1
#define SWITCH  2 /* all memory sent, source paused */
#define REPLY   3 /* Finish done on the target, its answer on the way */
#define CONFIRM 4
#define UNDO    5
#define KILL    6 /* the word is written, the process not dead yet */

c_decl {
\#include "tests/model/tables.h"
}

/* --- the nodes */
byte guest[N], epoch[N]; /* epoch and from: of the domain */
byte from[N];            /* the move that sent it */
bit whole[N];            /* all memory is here */
bit stale[N];            /* the source has run on since */
bit moved_away[N];       /* libvirt's word: ended because it had migrated; given before it kills */
bit up[N], api[N], fenced[N];
byte shown[N], shown_epoch[N], shown_from[N]; /* as published */
byte plan[N], plan_from[N];    /* of the node's agent, decided but not done: own_action + 1, its object */
bit link = 1;                  /* between the nodes */

/* --- the API */
byte owner, owner_epoch = 1;
byte phase, job, src, tgt, mig_epoch, mig; /* the journal of the last move */
bit cancel, asked;
byte answer; /* of the target's agent, 0: none yet, else guest + 1 */
bit ended_badly[ROUNDS + 2];

/* --- each source: libvirt's call, and the agent's thread for it */
byte lv[2];
bit called[2], moving[2], removed[2];
#ifdef TRUST_EVENTS
bit on_the_way[2], returned[2]; /* the event that the source runs on: sent, and come in */
#endif
bit watched[2]; /* a pidfd from when the guest ran */
byte outcome[2]; /* transfer_state, 0: none yet */
byte about[2], about_epoch[2]; /* the move that it is about, and the source's epoch */

/* --- for the judge */
byte faults;
bit killed; /* a fault has ended the guest */

byte act; bit us, ut; /* what the migrator decides, and what it does not see */

#define FINISHED  (phase == c_SUCCEEDED || phase == c_FAILED || phase == c_CANCELLED)
#define REACHED(n) (up[n] && api[n])

/* enum mig_phase, enum transfer_state: checked against core/ below */
#define o_START      1 /* enum own_action */
#define o_RESUME     2
#define o_DESTROY    5
#define c_PENDING    0
#define c_COPYING    3
#define c_SWITCHING  4
#define c_CONFIRMING 5
#define c_SUCCEEDED  6
#define c_FAILED     7
#define c_CANCELLED  8
#define c_UNKNOWN    9
#define j_NONE       0
#define j_RUNNING    1
#define j_SWITCHED   2
#define j_DONE       3
#define j_FAILED     4
#define j_CANCELLED  5
#define j_LOST       6

c_code {
_Static_assert(MIG_PENDING == 0 && MIG_COPYING == 3 && MIG_SWITCHING == 4 && MIG_CONFIRMING == 5 &&
               MIG_SUCCEEDED == 6 && MIG_FAILED == 7 && MIG_CANCELLED == 8 && MIG_UNKNOWN == 9, "");
_Static_assert(OWN_START == 1 && OWN_RESUME == 2 && OWN_DESTROY == 5, "");
_Static_assert(TRANSFER_NONE == 0 && TRANSFER_RUNNING == 1 && TRANSFER_SWITCHED == 2 &&
               TRANSFER_DONE == 3 && TRANSFER_FAILED == 4 && TRANSFER_CANCELLED == 5 &&
               TRANSFER_LOST == 6, "");

#ifdef FINISH_RESUMES
#define FAST 1
#else
#define FAST 0
#endif

static int in_reach(int n) { return now.up[n] && now.api[n]; }

/* What the migrator decides; us, ut: source or target counts as unseen though it may be in sight. */
static int move_action(int us, int ut)
{
        int s = now.src, t = now.tgt;
        struct recovery r = {
                .phase = (enum mig_phase)now.phase,
                .owner = now.owner == s && now.owner_epoch == now.mig_epoch ? RCV_OWNER_SOURCE
                       : now.owner == t && now.owner_epoch == now.mig_epoch + 1 ? RCV_OWNER_TARGET
                       : RCV_OWNER_OTHER,
                .source = model_host(now.shown[s], now.shown_epoch[s] == now.mig_epoch, 1,
                                     us, now.fenced[s] && !in_reach(s)),
                .target = now.answer ? model_host(now.answer - 1, 1, 1, 0, 0)
                                     : model_host(now.shown[t], now.shown_epoch[t] == now.mig_epoch + 1,
                                                  now.shown_from[t] == now.mig, ut, now.fenced[t] && !in_reach(t)),
                .answered = now.answer != 0,
                .job = (enum transfer_state)now.job,
                .fast = FAST,
        };

        return recovery_decide(&r, NULL);
}

/* The phase that the action leads to, now.phase when it leads nowhere. */
static int phase_after(int a)
{
        static const int TO[RCV_ACTIONS] = {
                [RCV_ASK] = MIG_UNKNOWN, [RCV_COPY] = MIG_COPYING, [RCV_SWITCH] = MIG_SWITCHING,
                [RCV_CONFIRM] = MIG_CONFIRMING, [RCV_FINISH] = MIG_SUCCEEDED,
                [RCV_FAIL] = MIG_FAILED, [RCV_CANCEL] = MIG_CANCELLED,
        };

        if (a == RCV_REST || a == RCV_WAIT)
                return now.phase;
        if (a == RCV_PROCEED) /* finding and checking a target needs it in sight */
                return now.cancel ? MIG_CANCELLED : in_reach(now.tgt) && !now.fenced[now.tgt] ? MIG_COPYING : now.phase;
        if (a != RCV_CONFIRM && !mig_may_move((enum mig_phase)now.phase, (enum mig_phase)TO[a]))
                return MIG_UNKNOWN;
        return TO[a];
}

/* The target is to be asked: nobody who could resume it is left. */
static int to_ask(void)
{
        return now.phase == MIG_UNKNOWN && now.fenced[now.src] && !in_reach(now.src) && !now.asked;
}

static int effective(int us, int ut)
{
        int a = move_action(us, ut);

        return phase_after(a) != now.phase || (a == RCV_CONFIRM && now.owner == now.src) || to_ask();
}

static int mig_over(void) { return mig_finished((enum mig_phase)now.phase); }

static int own_action_of(int n)
{
        int sent = now.from[n] == now.mig ? now.phase != MIG_FAILED && now.phase != MIG_CANCELLED
                                          : !now.ended_badly[now.from[n]];
        struct ownership o = {
                .vm = now.owner == n ? OWN_MINE : OWN_OTHERS,
                .epoch = now.guest[n] == GUEST_NONE ? OWN_EQUAL
                                                    : model_epoch(now.epoch[n], now.owner_epoch),
#ifdef NO_SENDER
                .domain = model_domain(now.guest[n], (sent, 1)),
#else
                .domain = model_domain(now.guest[n], sent),
#endif
                .want = OWN_RUN,
                .migrating = !mig_over() || (n < 2 && now.moving[n]),
        };

        return ownership_decide(&o, NULL);
}

/* Decided, and worth doing. */
static int own_due(int n)
{
        int a = own_action_of(n);

        return a == OWN_START || a == OWN_RESUME || a == OWN_DESTROY;
}
}

#define RUNNING (guest[0] == RUNS) + (guest[1] == RUNS) + (guest[2] == RUNS)

/* The one place where a guest begins to run from memory that was sent. */
inline resume(n) {
	assert(whole[n]); /* the whole guest */
	assert(!stale[n]); /* and no older than the disks */
	guest[n] = RUNS;
	assert(RUNNING == 1)
}

inline cold_start(n) {
	assert(killed); /* nobody loses what runs unless a fault took it */
	guest[n] = RUNS; epoch[n] = owner_epoch; from[n] = 0; moved_away[n] = 0;
	assert(RUNNING == 1)
}

inline go_on(n) { /* libvirt or the agent lets the source run again */
	guest[n] = RUNS;
	if :: whole[1 - n] -> stale[1 - n] = 1 :: else fi;
#ifdef TRUST_EVENTS
	on_the_way[n] = 1;
#endif
	assert(RUNNING == 1)
}

#define T         (1 - n) /* the target of a move from n */

/* --- libvirt on both sides of a move from n */
proctype Libvirt(byte n) {
	do
	:: atomic { lv[n] == COPY && guest[n] == RUNS && guest[T] == RECEIVING && link ->
		guest[n] = SWITCHING; whole[T] = 1; lv[n] = SWITCH }
	:: atomic { lv[n] == COPY && (guest[n] != RUNS || guest[T] != RECEIVING || !link || cancel) ->
		lv[n] = IDLE }
	:: atomic { lv[n] == SWITCH && guest[n] == SWITCHING && guest[T] == RECEIVING && link ->
#ifdef FINISH_RESUMES
		resume(T);
#else
		guest[T] = RECEIVED;
#endif
		lv[n] = REPLY }
	:: atomic { lv[n] == SWITCH && (guest[n] != SWITCHING || guest[T] != RECEIVING || !link) ->
		lv[n] = UNDO }
	:: atomic { lv[n] == REPLY && link -> lv[n] = CONFIRM }
	:: atomic { lv[n] == REPLY && !link -> lv[n] = UNDO }
	:: atomic { lv[n] == CONFIRM -> lv[n] = IDLE;
		if :: guest[n] == SWITCHING -> moved_away[n] = 1; lv[n] = KILL :: else fi }
	:: atomic { lv[n] == KILL -> lv[n] = IDLE;
		if :: guest[n] == SWITCHING -> guest[n] = NONE :: else fi }
	:: atomic { lv[n] == UNDO -> lv[n] = IDLE;
		if :: guest[n] == SWITCHING -> go_on(n) :: else fi }
	/* the target's libvirtd ends what nobody sends any more */
	:: atomic { lv[n] == IDLE && up[T] && guest[T] == RECEIVING -> guest[T] = NONE }
	od
}

/* --- agent/move.c and agent/handover.c on the source n */
#define TURN      (phase == c_COPYING || phase == c_SWITCHING || phase == c_UNKNOWN)
#define SENT      (guest[T] == RECEIVED && from[T] == about[n])
#define ARRIVING  (guest[T] == RECEIVING && from[T] == about[n])
#define SOURCE    (epoch[n] == about_epoch[n] -> guest[n] : NONE) /* not a later guest of this node */
#define THERE     (guest[T] == RUNS && from[T] == about[n])
#define SETTLING  (moving[n] && !outcome[n] && called[n] && lv[n] == IDLE && up[n])
#define HANDOVER  (moving[n] && !outcome[n] && called[n] && up[n])
/*
 * Whether what was sent is the guest as it was when its source ended. Events are no evidence: one that
 * has not come in may still be on the way.
 */
#ifdef TRUST_EVENTS
#define CURRENT   (!returned[n])
#else
#define CURRENT   (moved_away[n])
#endif

inline take_up(joins) {
	moving[n] = 1; called[n] = joins; outcome[n] = 0;
#ifdef TRUST_EVENTS
	on_the_way[n] = 0; returned[n] = 0;
#endif
	removed[n] = 0; watched[n] = 0; about[n] = mig; about_epoch[n] = mig_epoch
}

inline begin_copy() {
	called[n] = 1;
	watched[n] = (guest[n] == RUNS && epoch[n] == about_epoch[n]);
	if
	:: watched[n] && guest[T] == NONE && link && up[T] && !cancel ->
		guest[T] = RECEIVING; epoch[T] = about_epoch[n] + 1; from[T] = about[n];
		whole[T] = 0; stale[T] = 0; lv[n] = COPY
	:: else
	fi
}

proctype Mover(byte n) {
	do
#ifdef TRUST_EVENTS
	:: atomic { on_the_way[n] -> on_the_way[n] = 0; returned[n] = 1 }
#endif
	/* the first word is a compare-and-swap; whoever wins it copies */
	:: atomic { !moving[n] && n == src && REACHED(n) && phase == c_COPYING && job == j_NONE ->
		if
		:: owner != n || owner_epoch != mig_epoch -> job = j_FAILED
		:: else ->
			if
			:: cancel -> job = j_CANCELLED
			:: else -> job = j_RUNNING; take_up(0)
			fi
		fi }
	:: atomic { !moving[n] && n == src && REACHED(n) && TURN && phase != c_COPYING && job == j_NONE ->
		job = j_FAILED } /* never begun */
	:: atomic { moving[n] && !called[n] && up[n] -> begin_copy() }
	/* a later agent joins what it finds */
	:: atomic { !moving[n] && n == src && REACHED(n) && TURN && (job == j_RUNNING || job == j_SWITCHED || job == j_LOST) ->
		take_up(1) }
	/* the handover */
#ifdef NO_PROOF
	:: atomic { HANDOVER && link && SENT -> resume(T); outcome[n] = j_DONE }
#endif
#ifdef RESUME_RECEIVING
	:: atomic { HANDOVER && watched[n] && SOURCE == NONE && link && (SENT || ARRIVING) ->
		resume(T); outcome[n] = j_DONE }
#else
	:: atomic { HANDOVER && watched[n] && SOURCE == NONE && CURRENT && link && SENT ->
		resume(T); outcome[n] = j_DONE }
#endif
	:: atomic { HANDOVER && api[n] && SOURCE == NONE && CURRENT && !link && mig == about[n] && job == j_RUNNING ->
		job = j_SWITCHED }
	/* what became of it, when libvirt's call has ended */
	:: atomic { SETTLING && SOURCE == RUNS -> outcome[n] = (cancel -> j_CANCELLED : j_FAILED) }
	:: atomic { SETTLING && SOURCE == NONE && link && up[T] && THERE -> outcome[n] = j_DONE }
	:: atomic { SETTLING && SOURCE == NONE && link && up[T] && SENT && CURRENT -> resume(T); outcome[n] = j_DONE }
	:: atomic { SETTLING && SOURCE == NONE && link && up[T] && !THERE && !ARRIVING && !(SENT && CURRENT) ->
		outcome[n] = j_FAILED }
	/* libvirt has forgotten why the source is paused: the target decides, and goes first */
	:: atomic { SETTLING && SOURCE == SWITCHING && link && up[T] && !removed[n] ->
		if
		:: guest[T] == RUNS -> guest[n] = NONE; outcome[n] = j_DONE
		:: else -> removed[n] = 1; if :: SENT || ARRIVING -> guest[T] = NONE :: else fi
		fi }
	:: atomic { SETTLING && SOURCE == SWITCHING && removed[n] -> go_on(n) }
	/* the word, and what lies on the target of a guest that stayed */
	:: atomic { outcome[n] && REACHED(n) && mig == about[n] && job != outcome[n] -> job = outcome[n] }
	:: atomic { outcome[n] && REACHED(n) && (mig != about[n] || job == outcome[n]) ->
		if :: SOURCE == RUNS && SENT && link && up[T] -> guest[T] = NONE :: else fi;
		moving[n] = 0; outcome[n] = 0 }
	od
}

#ifdef KILL_BY_NAME
#define KILLS(n) 1
#else
#define KILLS(n) (from[n] == plan_from[n])
#endif

/* --- agent/vms.c on each node: read and decide, then do; and publish */
proctype Agent(byte n) {
	do
	:: atomic { REACHED(n) && !plan[n] && c_expr { own_due (PAgent->n) } ->
		c_code { now.plan[PAgent->n] = (unsigned char)(own_action_of(PAgent->n) + 1); };
		plan_from[n] = from[n] }
	:: atomic { plan[n] == o_START + 1 -> plan[n] = 0;
		if :: guest[n] == NONE -> cold_start(n) :: else fi }
	:: atomic { plan[n] == o_RESUME + 1 -> plan[n] = 0;
		if :: guest[n] == RECEIVED -> resume(n) :: else fi }
	/* that very process, by its pidfd: its successor has another */
	:: atomic { plan[n] == o_DESTROY + 1 -> plan[n] = 0;
		if :: KILLS(n) -> guest[n] = NONE :: else fi }
	:: atomic { REACHED(n) && n == tgt && phase == c_UNKNOWN && asked && !answer ->
		answer = (epoch[n] == mig_epoch + 1 && from[n] == mig -> guest[n] + 1 : NONE + 1) }
	:: atomic { REACHED(n) && (shown[n] != guest[n] || shown_epoch[n] != epoch[n] || shown_from[n] != from[n]) ->
		shown[n] = guest[n]; shown_epoch[n] = epoch[n]; shown_from[n] = from[n] }
	od
}

/* --- the migrator */

/*
 * A node may count as silent although it speaks (its heartbeat was late), and for a while as speaking
 * although it is silent. Where endless runs are looked for, heartbeats are in time.
 */
#ifdef FAIR
#define HEARD(n)  REACHED(n)
#define SILENT(n) (!REACHED(n))
#else
#define HEARD(n)  1
#define SILENT(n) 1
#endif

inline carry_out(s_unseen, t_unseen) {
	us = s_unseen; ut = t_unseen;
	c_code { now.act = (unsigned char)move_action(now.us, now.ut); };
	if
	:: c_expr { now.act == RCV_CONFIRM } && phase == c_CONFIRMING -> /* the journal first, then the owner */
		owner = tgt; owner_epoch = mig_epoch + 1
	:: else -> c_code { now.phase = (unsigned char)phase_after(now.act); };
	fi;
	if :: c_expr { to_ask () } -> asked = 1 :: else fi;
	if :: phase == c_FAILED || phase == c_CANCELLED -> ended_badly[mig] = 1 :: else fi;
	act = 0; us = 0; ut = 0
}

inline next_move() {
	mig++; src = owner; tgt = 1 - owner; mig_epoch = owner_epoch; phase = c_PENDING; job = j_NONE;
	cancel = 0; asked = 0; answer = 0
}

inline choose(n) { owner = n; owner_epoch++ }

proctype Migrator() {
	do
	:: atomic { !FINISHED && HEARD(src) && HEARD(tgt) && c_expr { effective (0, 0) } -> carry_out(0, 0) }
	:: atomic { !FINISHED && SILENT(src) && HEARD(tgt) && c_expr { effective (1, 0) } -> carry_out(1, 0) }
	:: atomic { !FINISHED && HEARD(src) && SILENT(tgt) && c_expr { effective (0, 1) } -> carry_out(0, 1) }
	:: atomic { !FINISHED && SILENT(src) && SILENT(tgt) && c_expr { effective (1, 1) } -> carry_out(1, 1) }
	:: atomic { FINISHED && owner < 2 && mig < ROUNDS && REACHED(owner) && shown[owner] == RUNS && shown_epoch[owner] == owner_epoch -> next_move() }
#ifdef NO_FENCE
	:: atomic { FINISHED && owner != NOBODY && !REACHED(owner) -> owner = NOBODY }
#else
	:: atomic { FINISHED && owner != NOBODY && !REACHED(owner) && fenced[owner] -> owner = NOBODY }
#endif
	:: atomic { FINISHED && owner == NOBODY && REACHED(0) && !fenced[0] -> choose(0) }
	:: atomic { FINISHED && owner == NOBODY && REACHED(1) && !fenced[1] -> choose(1) }
	:: atomic { FINISHED && owner == NOBODY && REACHED(2) && !fenced[2] -> choose(2) }
	od
}

/* --- what may go wrong */
#define FAULT (faults < FAULTS)

inline forget(n) { moving[n] = 0; outcome[n] = 0 } /* the agent of n ends */

inline lose_host(n) {
	faults++;
	up[n] = 0; plan[n] = 0; moved_away[n] = 0;
	if
	:: guest[n] != NONE && guest[n] != RECEIVING || n == src && guest[n] == NONE && !FINISHED -> killed = 1
	:: else
	fi;
	guest[n] = NONE; lv[n] = IDLE; forget(n)
}

inline lose_guest(n) {
	faults++;
	if
	:: guest[n] == SWITCHING && lv[n] == KILL /* before its time, and it had moved all the same */
	:: guest[n] == RECEIVING -> moved_away[n] = 0
	:: else -> killed = 1; moved_away[n] = 0 /* an end of another kind */
	fi;
	guest[n] = NONE
}

/* The source's call is gone, and what libvirtd does with a paused guest at its return is its affair. */
inline lose_libvirtd(n) {
	faults++;
	if
	:: lv[n] == SWITCH || lv[n] == REPLY || lv[n] == UNDO ->
		lv[n] = IDLE;
		if
		:: guest[n] == SWITCHING -> if :: go_on(n) :: skip fi
		:: else
		fi
	:: lv[n] == CONFIRM || lv[n] == KILL /* recovered: it goes on to kill */
	:: lv[n] == COPY -> lv[n] = IDLE
	fi
}

proctype Chaos(byte n) {
	do
	:: atomic { FAULT && up[n] -> lose_host(n) }
	:: atomic { FAULT && guest[n] != NONE -> lose_guest(n) }
	:: atomic { FAULT && api[n] -> faults++; api[n] = 0 }
	:: atomic { FAULT && up[n] && (moving[n] || plan[n]) -> faults++; plan[n] = 0; forget(n) }
	:: atomic { FAULT && up[n] && lv[n] != IDLE -> lose_libvirtd(n) }
	:: atomic { FAULT && n == 0 && link -> faults++; link = 0 }
	:: atomic { FAULT && n == 0 && !FINISHED && !cancel -> faults++; cancel = 1 }
#ifdef NO_FINALIZER
	:: atomic { FAULT && n == 0 && !FINISHED -> faults++; phase = c_FAILED }
#endif
	od
}

/*
 * Repairs come at any time, but they come. Assumed of operators: a node is declared dead only when it
 * is, and no longer when it is switched on again (docs/operations.md).
 */
proctype Repair() {
	byte n;
	do
	:: atomic { !link -> link = 1 }
	:: atomic { !api[0] -> api[0] = 1 }
	:: atomic { !api[1] -> api[1] = 1 }
	:: atomic { !up[0] && !fenced[0] -> fenced[0] = 1 } /* switched off for good, says the operator */
	:: atomic { !up[1] && !fenced[1] -> fenced[1] = 1 }
	:: atomic { !up[0] -> up[0] = 1; fenced[0] = 0 }
	:: atomic { !up[1] -> up[1] = 1; fenced[1] = 0 }
	od
}

/* Where no step is left: it runs once, where its owner is, and nothing else is there. */
proctype Monitor() {
	timeout ->
	assert(FINISHED);
	assert(owner != NOBODY && guest[owner] == RUNS && epoch[owner] == owner_epoch);
	assert((guest[0] != NONE) + (guest[1] != NONE) + (guest[2] != NONE) == 1);
	assert(!moving[0] && !moving[1])
}

#ifdef REACH
/* That the model can come there at all: its failure is wanted. */
proctype Witness() {
	REACH -> assert(false)
}
#endif

init {
	atomic {
#ifdef REACH
		run Witness();
#endif
		up[0] = 1; up[1] = 1; up[2] = 1; api[0] = 1; api[1] = 1; api[2] = 1;
		guest[0] = RUNS; epoch[0] = 1; shown[0] = RUNS; shown_epoch[0] = 1;
		owner = 0; next_move();
#if ROUNDS > 1
		run Libvirt(1); run Mover(1);
#endif
		run Libvirt(0); run Mover(0); run Agent(0); run Agent(1); run Agent(2);
		run Migrator(); run Chaos(0); run Chaos(1); run Repair(); run Monitor()
	}
}
