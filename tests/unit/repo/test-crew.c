#include "../../../repo/crew.h"

#include "memory-store.h"

#include <sodium.h>

#define PIECES 50u

static void fill(Piece *p, uint64_t number) {
        p->number = number;
        p->id = (ContentId) {};
        p->size = CHUNK_SIZE / 2;
        memset(p->data, (int) number + 1, p->size);
}

static Piece *next(Crew *crew, void (*collected)(Piece *p, void *userdata), void *userdata) {
        if (!crew_next(crew))
                collected(crew_collect(crew), userdata);
        return crew_next(crew);
}

typedef struct Order {
        Repository *repository;
        uint64_t next;
        ContentId ids[PIECES];
} Order;

static void put(Piece *p, void *userdata) {
        Order *order = userdata;
        uint64_t stored;
        Error err = {};

        assert_int_equal(p->number, order->next);
        assert_int_equal(repository_put_piece(order->repository, p, false, &stored, &err), 0);
        assert_true(stored > 0);
        order->ids[order->next++] = p->id;
}

static void is_what_was_put(Piece *p, void *userdata) {
        Order *order = userdata;
        Error err = {};

        assert_int_equal(p->number, order->next++);
        assert_int_equal(piece_failure(p, &err), 0);
        for (size_t i = 0; i < p->size; i++)
                assert_int_equal(p->data[i], p->number + 1);
}

static void put_all(Order *order) {
        Crew *crew = NULL;
        Error err = {};
        Piece *p;

        assert_int_equal(crew_new(order->repository, piece_seal, &crew, &err), 0);
        for (uint64_t i = 0; i < PIECES; i++) {
                fill(next(crew, put, order), i);
                crew_give(crew);
        }
        while ((p = crew_collect(crew)))
                put(p, order);
        crew_free(crew);
}

static void test_pieces_come_back_in_their_order(void **state) {
        Memory m = {};
        Order order = { .repository = memory_repository(&m) };
        Crew *crew = NULL;
        Error err = {};
        Piece *p;

        put_all(&order);
        assert_int_equal(order.next, PIECES);
        assert_int_equal(memory_count(&m, "data/"), PIECES);
        order.next = 0;
        assert_int_equal(crew_new(order.repository, piece_open, &crew, &err), 0);
        for (uint64_t i = 0; i < PIECES; i++) {
                p = next(crew, is_what_was_put, &order);
                p->number = i;
                p->id = order.ids[i];
                p->size = CHUNK_SIZE / 2;
                assert_true(repository_fetch_piece(order.repository, p, &err) >= 0);
                crew_give(crew);
        }
        while ((p = crew_collect(crew)))
                is_what_was_put(p, &order);
        assert_int_equal(order.next, PIECES);
        crew_free(crew);
        repository_free(order.repository);
        memory_done(&m);
}

static void test_what_is_called_so_already_is_not_sealed(void **state) {
        uint8_t data[8] = "contents";
        Memory m = {};
        Repository *r = memory_repository(&m);
        Piece p = { .data = data, .size = sizeof(data) };
        uint64_t stored;
        Error err = {};

        repository_name_content(r, data, sizeof(data), &p.id);
        piece_seal(r, &p);
        assert_int_equal(p.n_sealed, 0);
        assert_int_equal(repository_put_piece(r, &p, false, &stored, &err), 0); /* but is, if it is not there */
        assert_true(stored > 0);
        assert_int_equal(repository_put_piece(r, &p, false, &stored, &err), 0);
        assert_int_equal(stored, 0);
        free(p.sealed);
        repository_free(r);
        memory_done(&m);
}

static void test_a_failure_stays_with_its_piece(void **state) {
        Memory m = {};
        Order order = { .repository = memory_repository(&m) };
        Crew *crew = NULL;
        Error err = {};
        Piece *p;

        put_all(&order);
        assert_int_equal(crew_new(order.repository, piece_check, &crew, &err), 0);
        for (uint64_t i = 0; i < 3; i++) {
                p = crew_next(crew);
                fill(p, i);
                p->id = order.ids[i == 1 ? 2 : i];
                crew_give(crew);
        }
        for (uint64_t i = 0; i < 3; i++) {
                p = crew_collect(crew);
                assert_int_equal(p->number, i);
                assert_int_equal(piece_failure(p, &err), i == 1 ? -EBADMSG : 0);
        }
        fill(crew_next(crew), 3); /* given up while it is under way */
        crew_give(crew);
        crew_free(crew);
        repository_free(order.repository);
        memory_done(&m);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_pieces_come_back_in_their_order),
                cmocka_unit_test(test_what_is_called_so_already_is_not_sealed),
                cmocka_unit_test(test_a_failure_stays_with_its_piece),
        };

        return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
